import type { Socket } from 'node:net';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { ClientCertificate, ClientTls } from '../transport/client-tls.ts';
import { MAX_STARTUP_BYTES, readStartup, type StartupPacket } from '../wire/startup.ts';

export type Startup = StartupPacket & { readonly kind: 'startup' };

/** What is known of the encryption of a connection. */
export type Encryption = {
  /** For SCRAM-SHA-256-PLUS; null: no binding is possible. */
  readonly binding: Buffer | null;
  readonly certificate: ClientCertificate | null;
};

export type OpeningHost = {
  readonly tls: ClientTls;
  /** From now on the connection is spoken to through this socket. */
  encrypted(socket: Socket): void;
  /** @param rest bytes that came behind the packet */
  startup(packet: Startup, encryption: Encryption | null, rest: Buffer): void;
  cancel(pid: number, secret: Buffer): void;
  /** The client is to be told. */
  failed(error: FairleadError): void;
  /** There is nobody who could be told. */
  broken(reason: string): void;
};

const ENCRYPT = Buffer.from('S');
const NOT_ENCRYPTED = Buffer.from('N');
/** The first byte of a TLS handshake: a client of PostgreSQL 17 or later that does not ask first. */
const TLS_HANDSHAKE = 0x16;

/**
 * What comes before a client says who it is: requests for encryption, in any order as PostgreSQL takes them (each once, none behind TLS);
 * TLS itself; a cancel request. https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-SSL
 */
export class Opening {
  readonly #host: OpeningHost;
  #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #encryption: Encryption | null = null;
  #sslAsked = false;
  #gssAsked = false;
  #encrypting = false;
  #ended = false;
  #giveUp: () => void = () => {};
  readonly #onData = (chunk: Buffer) => this.#data(chunk);

  constructor(socket: Socket, host: OpeningHost) {
    this.#socket = socket;
    this.#host = host;
  }

  start(): void {
    this.#socket.on('data', this.#onData);
  }

  /** A TLS handshake is under way. */
  get isEncrypting(): boolean {
    return this.#encrypting;
  }

  /** Takes its hands off the socket. */
  stop(): void {
    this.#ended = true;
    this.#giveUp();
    this.#socket.off('data', this.#onData);
  }

  #data(chunk: Buffer): void {
    if (this.#isFirst && chunk[0] === TLS_HANDSHAKE) return this.#beginDirect(chunk);
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    while (!this.#ended && this.#received.length >= 4) {
      const length = this.#received.readInt32BE(0);
      if (length < 8 || length > MAX_STARTUP_BYTES) {
        // PostgreSQL says nothing to that either: a driver that gives up at once may send Terminate for a start
        return this.#host.broken('invalid length of startup packet');
      }
      if (this.#received.length < length) return;
      const packet = readStartup(this.#received.subarray(0, length));
      this.#received = this.#received.subarray(length);
      this.#packet(packet);
    }
  }

  get #isFirst(): boolean {
    return this.#received.length === 0 && this.#encryption === null && !this.#sslAsked && !this.#gssAsked;
  }

  #packet(packet: StartupPacket): void {
    switch (packet.kind) {
      case 'ssl':
        if (this.#sslAsked || this.#encryption !== null) return this.#fail('unexpected SSLRequest');
        this.#sslAsked = true;
        return this.#answerRequest(this.#mayEncrypt);
      case 'gss':
        if (this.#gssAsked || this.#encryption !== null) return this.#fail('unexpected GSSENCRequest');
        this.#gssAsked = true;
        return this.#answerRequest(false);
      case 'cancel':
        return this.#host.cancel(packet.pid, packet.secret);
      case 'invalid':
        return this.#fail(packet.reason);
      case 'unsupported':
        return this.#host.failed(
          new FairleadError('unsupported', packet.reason, 'use a driver for PostgreSQL 7.4 or later'),
        );
      case 'startup':
        this.stop();
        return this.#host.startup(packet, this.#encryption, this.#received);
    }
  }

  /** As with PostgreSQL, a Unix socket needs none. */
  get #mayEncrypt(): boolean {
    return this.#host.tls.offered && this.#socket.remoteAddress !== undefined;
  }

  #answerRequest(encrypt: boolean): void {
    // bytes that were sent before our answer could be smuggled into the encrypted stream by somebody in between (CVE-2021-23214)
    if (this.#received.length > 0) return this.#fail('received unencrypted data after an encryption request');
    if (!encrypt) {
      this.#socket.write(NOT_ENCRYPTED);
      return;
    }
    this.#socket.write(ENCRYPT);
    this.#encrypt(false);
  }

  #beginDirect(chunk: Buffer): void {
    if (!this.#mayEncrypt) return this.#host.broken('direct TLS where none is offered');
    this.#socket.off('data', this.#onData);
    this.#socket.pause();
    this.#socket.unshift(chunk);
    this.#encrypt(true);
  }

  #encrypt(direct: boolean): void {
    this.#socket.off('data', this.#onData);
    this.#encrypting = true;
    this.#giveUp = this.#host.tls.secure(this.#socket, (error, secured) => {
      this.#encrypting = false;
      if (this.#ended) return secured?.socket.destroy();
      if (secured === null) return this.#host.broken(messageOf(error));
      const { socket, binding, certificate, untrusted } = secured;
      this.#socket = socket;
      this.#encryption = { binding, certificate };
      this.#host.encrypted(socket);
      if (direct && socket.alpnProtocol !== 'postgresql') {
        return this.#fail('direct TLS connection without the ALPN protocol "postgresql"');
      }
      if (untrusted !== null) {
        const text = `the client's certificate is not valid: ${untrusted}`;
        return this.#host.failed(new FairleadError('access_denied', text, 'show one that tls.ca verifies, or none'));
      }
      socket.on('data', this.#onData);
    });
  }

  #fail(reason: string): void {
    this.#host.failed(new FairleadError('protocol_violation', reason));
  }
}
