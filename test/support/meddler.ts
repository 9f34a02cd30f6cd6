/** Stands between the proxy and a server, and meddles with what the server says to one user. */
import net from 'node:net';
import { noticeResponse, parameterStatus } from '../../src/wire/writer.ts';
import type { Random } from './random.ts';

/** The first three are legal: nothing may come of them. */
export const MEDDLING = ['none', 'pieces', 'asides', 'mutate', 'cut', 'reset', 'silence'] as const;
export type Meddling = (typeof MEDDLING)[number];

const LEGAL: ReadonlySet<Meddling> = new Set(['none', 'pieces', 'asides']);
/** Bytes of a login at the least: what comes later is a session's. */
const LOGIN_BYTES = 500;

export class Meddler {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #user: string;
  /** What the next connection of the user suffers. */
  choose: () => { readonly meddling: Meddling; readonly random: Random };

  private constructor(server: net.Server, user: string, choose: Meddler['choose']) {
    this.#server = server;
    this.#user = user;
    this.choose = choose;
  }

  static async start(
    target: { readonly host: string; readonly port: number },
    user: string,
    choose: Meddler['choose'],
  ): Promise<Meddler> {
    const server = net.createServer({ noDelay: true, allowHalfOpen: true });
    const meddler = new Meddler(server, user, choose);
    server.on('connection', (socket) => meddler.#connect(socket, target));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return meddler;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #connect(proxy: net.Socket, target: { readonly host: string; readonly port: number }): void {
    const server = net.connect({ ...target, noDelay: true, allowHalfOpen: true });
    for (const [socket, other] of [
      [proxy, server],
      [server, proxy],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('end', () => other.end());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroySoon();
      });
    }
    let relay: ((chunk: Buffer) => void) | null = null;
    proxy.on('data', (chunk) => {
      server.write(chunk);
      if (relay !== null || !chunk.includes('user\0')) return;
      const { meddling, random } = this.choose();
      const meddles = meddling !== 'none' && chunk.includes(`user\0${this.#user}\0`);
      relay = meddles ? relayOf(meddling, random, proxy, server) : (bytes) => void proxy.write(bytes);
    });
    server.on('data', (chunk) => (relay === null ? proxy.write(chunk) : relay(chunk)));
  }
}

export function isLegal(meddling: Meddling): boolean {
  return LEGAL.has(meddling);
}

function relayOf(meddling: Meddling, random: Random, proxy: net.Socket, server: net.Socket): (chunk: Buffer) => void {
  const from = random.chance(0.05) ? random.int(LOGIN_BYTES) : LOGIN_BYTES + random.int(3000);
  let seen = 0;
  let over = false;
  const frames = new Frames();
  return (chunk) => {
    const before = seen;
    seen += chunk.length;
    if (over) return;
    switch (meddling) {
      case 'pieces':
        return inPieces(chunk, random, proxy);
      case 'asides':
        for (const frame of frames.take(chunk)) {
          // asides are legal once the login is over
          if (before > LOGIN_BYTES && random.chance(0.3)) proxy.write(aside(random));
          proxy.write(frame);
        }
        return;
      case 'mutate':
        return void proxy.write(seen < from || random.chance(0.5) ? chunk : mutated(chunk, random));
      default:
        if (seen < from) return void proxy.write(chunk);
        over = true;
        proxy.write(chunk.subarray(0, random.int(chunk.length + 1)));
        if (meddling === 'cut') proxy.end();
        else if (meddling === 'reset') proxy.resetAndDestroy();
        if (meddling !== 'silence') server.destroy();
    }
  };
}

function inPieces(chunk: Buffer, random: Random, socket: net.Socket): void {
  const most = random.chance(0.5) ? 1 : 40;
  for (let pos = 0, pieces = 0; pos < chunk.length; pieces++) {
    const size = pieces > 400 ? chunk.length : 1 + random.int(most);
    socket.write(chunk.subarray(pos, pos + size));
    pos += size;
  }
}

function aside(random: Random): Buffer {
  switch (random.int(3)) {
    case 0:
      return noticeResponse('NOTICE', '00000', `an aside ${'x'.repeat(random.int(300))}`);
    case 1:
      return parameterStatus('aside', String(random.int(1000)));
    default: {
      const body = Buffer.from('\0\0\0\x07aside\0from nowhere\0', 'latin1');
      const head = Buffer.from([0x41, 0, 0, 0, body.length + 4]);
      return Buffer.concat([head, body]);
    }
  }
}

function mutated(chunk: Buffer, random: Random): Buffer {
  const out = Buffer.from(chunk);
  const at = random.int(out.length);
  const length = 1 + random.int(12);
  switch (random.int(4)) {
    case 0:
      for (let i = 0; i < 1 + random.int(3); i++) out[random.int(out.length)] = random.int(256);
      return out;
    case 1:
      return Buffer.concat([out.subarray(0, at), out.subarray(at + length)]);
    case 2:
      return Buffer.concat([out.subarray(0, at + length), out.subarray(at)]);
    default:
      return Buffer.concat([
        out.subarray(0, at),
        Buffer.from(Array.from({ length }, () => random.int(256))),
        out.subarray(at),
      ]);
  }
}

/** Cuts a server's stream into messages. */
class Frames {
  #rest: Buffer = Buffer.alloc(0);

  take(chunk: Buffer): Buffer[] {
    const frames: Buffer[] = [];
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 5 && this.#rest.length > this.#rest.readInt32BE(1)) {
      const end = this.#rest.readInt32BE(1) + 1;
      frames.push(this.#rest.subarray(0, end));
      this.#rest = this.#rest.subarray(end);
    }
    return frames;
  }
}
