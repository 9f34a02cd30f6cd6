import type net from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import type pg from 'pg';
import type { FairleadError } from '../core/errors.ts';
import { endPointBinding } from '../wire/channel-binding.ts';
import { abortSocket } from './abort-socket.ts';
import { type Encryption, encryptionsFor, openServerSocket, type ServerAddress, TlsRefused } from './server-socket.ts';
import { mayCarryPassword, peerCertificate } from './server-tls.ts';

const AUTHENTICATION = 0x52;
const CLEARTEXT = 3;
const PLUS = Buffer.from('SCRAM-SHA-256-PLUS\0');
/** What pg does not know, in its place. */
const HIDDEN = Buffer.from('SCRAM-SHA-256-NONE\0');

/**
 * A connection to a server as `pg` wants it: what it would do itself with its `ssl` option, by libpq's rules (`pg` has neither
 * `prefer` nor `allow`), with channel binding where the certificate allows it, and no password in clear text over an open network.
 */
export class ControlStream extends Duplex {
  readonly #address: ServerAddress;
  readonly #encryption: Encryption;
  #socket: net.Socket | null = null;
  #giveUp: () => void = () => {};
  #started = false;
  #aborted = false;
  #keepAliveMs: number | null = null;
  #reached = false;

  constructor(address: ServerAddress, encryption: Encryption = encryptionsFor(address)[0] as Encryption) {
    super({ allowHalfOpen: false });
    this.#address = address;
    this.#encryption = encryption;
  }

  /** The host has accepted the connection, whatever came of it. */
  get reached(): boolean {
    return this.#reached;
  }

  /** `pg` passes port and host: they are the address's. */
  connect(): this {
    const done = (error: Error | null, socket: net.Socket | null) => {
      if (socket === null) {
        this.destroy(error ?? undefined);
        return;
      }
      this.#adopt(socket);
      this.emit('connect');
    };
    this.#giveUp = openServerSocket(this.#address, this.#encryption, done, () => {
      this.#reached = true;
    });
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(_on: boolean, initialDelayMs = 0): this {
    this.#keepAliveMs = initialDelayMs;
    this.#socket?.setKeepAlive(true, initialDelayMs);
    return this;
  }

  ref(): this {
    this.#socket?.ref();
    return this;
  }

  unref(): this {
    this.#socket?.unref();
    return this;
  }

  /** What `pg` computes the channel binding from. */
  getPeerCertificate(): { readonly raw: Buffer } {
    return { raw: peerCertificate(this.#socket) ?? Buffer.alloc(0) };
  }

  /** Destroys it such that nothing of what was written arrives later. */
  abort(): void {
    this.#aborted = true;
    this.destroy();
  }

  override _read(): void {
    this.#socket?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#socket === null) return done(new Error('not connected'));
    this.#socket.write(chunk, (error) => done(error));
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket?.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#giveUp();
    if (this.#aborted && this.#socket !== null) abortSocket(this.#socket);
    else this.#socket?.destroy();
    done(error);
  }

  #adopt(socket: net.Socket): void {
    this.#socket = socket;
    if (this.#keepAliveMs !== null) socket.setKeepAlive(true, this.#keepAliveMs);
    socket.on('error', (error) => this.destroy(error));
    socket.on('end', () => this.push(null));
    socket.on('close', () => this.destroy());
    socket.on('data', (chunk) => {
      const bytes = this.#started ? chunk : this.#first(chunk);
      this.#started = true;
      if (bytes !== null && !this.push(bytes)) socket.pause();
    });
  }

  /** The server's first message says how it wants to be convinced. */
  #first(chunk: Buffer): Buffer | null {
    if (chunk[0] !== AUTHENTICATION || chunk.length < 9) return chunk;
    const encrypted = this.#socket instanceof tls.TLSSocket;
    if (chunk.readInt32BE(5) === CLEARTEXT && !mayCarryPassword(this.#address, encrypted)) {
      this.destroy(cleartextRefused(this.#address));
      return null;
    }
    const at = chunk.indexOf(PLUS);
    if (at === -1 || bindable(peerCertificate(this.#socket))) return chunk;
    const changed = Buffer.from(chunk);
    HIDDEN.copy(changed, at);
    return changed;
  }
}

function bindable(certificate: Buffer | null): boolean {
  return certificate !== null && endPointBinding(certificate) !== null;
}

export function cleartextRefused(address: ServerAddress): FairleadError {
  return new TlsRefused(
    address,
    'the server asks for the password in clear text, and the connection is not encrypted',
    "let pg_hba.conf ask for scram-sha-256, encrypt the connection (cluster.tls), or set cluster.tls.cleartext_password: 'allow'",
  );
}

/** The part of `pg`'s configuration that says how to reach a server. */
export function reach(address: ServerAddress, encryption?: Encryption): pg.ClientConfig {
  return {
    host: address.host,
    port: address.port,
    stream: () => new ControlStream(address, encryption) as unknown as Duplex,
    enableChannelBinding: true,
  } as pg.ClientConfig;
}
