/** A client that speaks the wire protocol byte by byte: what drivers hide, tests can send. */
import net from 'node:net';
import { readErrorFields } from '../../src/wire/fields.ts';
import { ScramClient } from '../../src/wire/scram.ts';
import { md5Answer, md5Hash } from '../../src/wire/secret.ts';
import { cancelPacket, startupPacket } from '../../src/wire/startup.ts';
import { cstrings, message } from '../../src/wire/writer.ts';

export type Message = { readonly type: string; readonly body: Buffer };

const PATIENCE_MS = 30_000;

export const q = (text: string) => message(0x51, cstrings(text));
export const sync = message(0x53, Buffer.alloc(0));
export const flush = message(0x48, Buffer.alloc(0));
export const copyDone = message(0x63, Buffer.alloc(0));
export const terminate = message(0x58, Buffer.alloc(0));
export const copyData = (data: string | Buffer) => message(0x64, Buffer.from(data as string));
export const copyFail = (why: string) => message(0x66, cstrings(why));
export const describeStatement = (name: string) => message(0x44, Buffer.concat([Buffer.from('S'), cstrings(name)]));
export const describePortal = (name = '') => message(0x44, Buffer.concat([Buffer.from('P'), cstrings(name)]));
export const closeStatement = (name: string) => message(0x43, Buffer.concat([Buffer.from('S'), cstrings(name)]));
export const closePortal = (name: string) => message(0x43, Buffer.concat([Buffer.from('P'), cstrings(name)]));
export const execute = (rows = 0, portal = '') => message(0x45, Buffer.concat([cstrings(portal), int32(rows)]));

export function parse(text: string, name = '', types: readonly number[] = []): Buffer {
  return message(0x50, Buffer.concat([cstrings(name, text), int16(types.length), ...types.map(int32)]));
}

export type BindOptions = {
  readonly portal?: string;
  readonly values?: readonly (string | Buffer | null)[];
  /** 1: parameters, or results, are binary. */
  readonly binaryValues?: boolean;
  readonly binaryResults?: boolean;
};

export function bind(name = '', options: BindOptions = {}): Buffer {
  const values = options.values ?? [];
  const parts = [cstrings(options.portal ?? '', name), options.binaryValues ? Buffer.from([0, 1, 0, 1]) : int16(0)];
  parts.push(int16(values.length));
  for (const value of values) {
    const bytes = value === null ? null : Buffer.from(value as string);
    parts.push(int32(bytes === null ? -1 : bytes.length));
    if (bytes !== null) parts.push(bytes);
  }
  parts.push(options.binaryResults ? Buffer.from([0, 1, 0, 1]) : int16(0));
  return message(0x42, Buffer.concat(parts));
}

function int16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function int32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeInt32BE(value);
  return out;
}

/** Types of messages as one text: `1 2 D C Z`. */
export function typesOf(messages: readonly Message[]): string {
  return messages.map((m) => m.type).join(' ');
}

/** SQLSTATE of the first error; null when there is none. */
export function sqlStateOf(messages: readonly Message[]): string | null {
  const error = messages.find((m) => m.type === 'E');
  return error === undefined ? null : errorOf(error).sqlState;
}

/** Message text of an ErrorResponse or NoticeResponse. */
export function errorOf({ body }: Message): { readonly sqlState: string; readonly message: string } {
  const whole = message(0x45, body);
  return readErrorFields(whole, 0, whole.length);
}

/** Values of all rows, as text. */
export function rowsOf(messages: readonly Message[]): (string | null)[][] {
  return messages.filter((m) => m.type === 'D').map(({ body }) => valuesOf(body).map((v) => v?.toString() ?? null));
}

/** Values of one DataRow as they came. */
export function valuesOf(body: Buffer): (Buffer | null)[] {
  const values: (Buffer | null)[] = [];
  let pos = 2;
  for (let i = 0; i < body.readUInt16BE(0); i++) {
    const size = body.readInt32BE(pos);
    values.push(size === -1 ? null : body.subarray(pos + 4, pos + 4 + size));
    pos += 4 + Math.max(0, size);
  }
  return values;
}

/** Column names of the first RowDescription. */
export function columnsOf(messages: readonly Message[]): string[] {
  const body = messages.find((m) => m.type === 'T')?.body ?? Buffer.from([0, 0]);
  const names: string[] = [];
  for (let i = 0, pos = 2; i < body.readUInt16BE(0); i++) {
    const end = body.indexOf(0, pos);
    names.push(body.toString('utf8', pos, end));
    pos = end + 19;
  }
  return names;
}

/** Name and value of a ParameterStatus. */
export function parameterOf({ body }: Message): readonly [string, string] {
  const [name, value] = body.toString().split('\0');
  return [name as string, value as string];
}

export class RawClient {
  readonly socket: net.Socket;
  readonly parameters = new Map<string, string>();
  pid = 0;
  secret: Buffer = Buffer.alloc(0);
  /** The other side has ended the connection. */
  ended = false;
  readonly #url: URL;
  readonly #messages: Message[] = [];
  #parts: Buffer[] = [];
  #bytes = 0;
  #wake: () => void = () => {};

  /** How it was asked to prove who it is, as the protocol numbers it: 0 not at all, 3 clear text, 5 md5, 10 SASL. */
  method = 0;

  /** @param socket a connection that is there; left out: a new one */
  constructor(url: string, socket?: net.Socket) {
    this.#url = new URL(url);
    this.socket = socket ?? net.connect({ host: this.#url.hostname, port: Number(this.#url.port), noDelay: true });
    this.socket.on('data', (chunk) => this.#data(chunk));
    this.socket.on('error', () => this.#end());
    this.socket.on('close', () => this.#end());
  }

  /** Connects and logs in. @throws Error with the server's words when it refuses */
  static async connect(url: string, parameters: Readonly<Record<string, string>> = {}): Promise<RawClient> {
    const client = new RawClient(url);
    await client.logIn(parameters);
    return client;
  }

  /** On a connection that is there, not yet logged in. */
  static on(socket: net.Socket, url: string): RawClient {
    return new RawClient(url, socket);
  }

  /** What cancels its statement. */
  get cancelPacket(): Buffer {
    return cancelPacket(this.pid, this.secret);
  }

  send(...messages: readonly Buffer[]): void {
    this.socket.write(messages.length === 1 ? (messages[0] as Buffer) : Buffer.concat(messages));
  }

  async logIn(parameters: Readonly<Record<string, string>> = {}): Promise<void> {
    const user = decodeURIComponent(this.#url.username);
    const database = this.#url.pathname.slice(1);
    this.send(startupPacket([['user', user], ['database', database], ...Object.entries(parameters)]));
    const password = decodeURIComponent(this.#url.password);
    const scram = new ScramClient({ kind: 'password', password });
    for (;;) {
      const m = await this.next();
      if (m.type === 'R' && this.method === 0) this.method = m.body.readInt32BE(0);
      if (m.type === 'E') throw Object.assign(new Error(errorOf(m).message), { code: errorOf(m).sqlState });
      else if (m.type === 'S') this.parameters.set(...parameterOf(m));
      else if (m.type === 'K') {
        this.pid = m.body.readInt32BE(0);
        this.secret = m.body.subarray(4);
      } else if (m.type === 'Z') return;
      else if (m.type === 'R' && m.body.readInt32BE(0) === 10) {
        const first = Buffer.from(scram.first());
        this.send(message(0x70, Buffer.concat([cstrings('SCRAM-SHA-256'), int32(first.length), first])));
      } else if (m.type === 'R' && m.body.readInt32BE(0) === 3) {
        this.send(message(0x70, cstrings(password)));
      } else if (m.type === 'R' && m.body.readInt32BE(0) === 5) {
        this.send(message(0x70, cstrings(md5Answer(md5Hash(password, user), m.body.subarray(4)))));
      } else if (m.type === 'R' && m.body.readInt32BE(0) === 11) {
        this.send(message(0x70, Buffer.from(scram.final(m.body.toString('utf8', 4)))));
      }
    }
  }

  /** The next message. @throws Error when none comes, or the connection ended */
  async next(timeoutMs = PATIENCE_MS): Promise<Message> {
    const untilMs = performance.now() + timeoutMs;
    while (this.#messages.length === 0) {
      if (this.ended) throw new Error('connection ended');
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) throw new Error(`no message within ${timeoutMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#messages.shift() as Message;
  }

  /** All messages up to the `count`th ReadyForQuery. */
  async untilReady(count = 1, timeoutMs = PATIENCE_MS): Promise<Message[]> {
    const seen: Message[] = [];
    for (let ready = 0; ready < count; ) {
      const m = await this.next(timeoutMs).catch((error) => {
        throw new Error(`${error.message}; so far: ${typesOf(seen)}`);
      });
      seen.push(m);
      if (m.type === 'Z') ready++;
    }
    return seen;
  }

  /** All messages up to the first of one of these types. */
  async untilType(...types: readonly string[]): Promise<Message[]> {
    const seen: Message[] = [];
    for (;;) {
      const m = await this.next();
      seen.push(m);
      if (types.includes(m.type)) return seen;
    }
  }

  /** Sends and reads up to ReadyForQuery. */
  ask(...messages: readonly Buffer[]): Promise<Message[]> {
    this.send(...messages);
    return this.untilReady();
  }

  /** Runs a simple query. @returns the values of its rows. @throws Error with SQLSTATE in `code` */
  async query(text: string): Promise<(string | null)[][]> {
    const answer = await this.ask(q(text));
    const error = answer.find((m) => m.type === 'E');
    if (error !== undefined) throw Object.assign(new Error(errorOf(error).message), { code: errorOf(error).sqlState });
    return rowsOf(answer);
  }

  /** Rows of a simple query by their column names. */
  async records(text: string): Promise<Record<string, string | null>[]> {
    const answer = await this.ask(q(text));
    const error = answer.find((m) => m.type === 'E');
    if (error !== undefined) throw new Error(errorOf(error).message);
    const names = columnsOf(answer);
    return rowsOf(answer).map((row) => Object.fromEntries(names.map((name, i) => [name, row[i] ?? null])));
  }

  /** First value of the first row. */
  async value(text: string): Promise<string | null> {
    return (await this.query(text))[0]?.[0] ?? null;
  }

  /** Messages that have come and were not read. */
  get waiting(): readonly Message[] {
    return this.#messages;
  }

  /** Sends a cancel request; resolves when the other side has closed its connection. */
  cancel(pid = this.pid, secret = this.secret): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host: this.#url.hostname, port: Number(this.#url.port) }, () =>
        socket.write(cancelPacket(pid, secret)),
      );
      socket.on('error', reject);
      socket.on('close', () => resolve());
      socket.resume();
    });
  }

  /** Says goodbye; resolves when the connection is closed. */
  async end(): Promise<void> {
    if (this.ended) return;
    const closed = new Promise((resolve) => this.socket.once('close', resolve));
    this.socket.end(terminate);
    await closed;
  }

  /** Vanishes without a word, with a reset. */
  vanish(): void {
    // Node 20 never closes a socket that is reset while its end is on the way, and then cannot end its own process
    if (this.socket.writableEnded) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  #data(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#bytes += chunk.length;
    const first = this.#parts[0] as Buffer;
    // a long message is joined once, when it is whole
    if (first.length >= 5 && first.readInt32BE(1) + 1 > this.#bytes) return;
    let all = this.#parts.length === 1 ? first : Buffer.concat(this.#parts, this.#bytes);
    while (all.length >= 5 && all.readInt32BE(1) + 1 <= all.length) {
      const end = all.readInt32BE(1) + 1;
      this.#messages.push({ type: String.fromCharCode(all[0] as number), body: all.subarray(5, end) });
      all = all.subarray(end);
    }
    this.#parts = all.length === 0 ? [] : [all];
    this.#bytes = all.length;
    this.#wake();
  }

  #end(): void {
    this.ended = true;
    this.#wake();
  }
}
