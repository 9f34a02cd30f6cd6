import { constants, createHmac, randomBytes, X509Certificate } from 'node:crypto';
import type net from 'node:net';
import tls from 'node:tls';
import type { ClientTlsSettings } from '../config/config.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { endPointBinding } from '../wire/channel-binding.ts';
import { readPem } from './pem.ts';

/** A client's certificate, verified; its common name is null when it has none, or several. */
export type ClientCertificate = { readonly commonName: string | null };

/** An encrypted connection of a client. */
export type Secured = {
  readonly socket: tls.TLSSocket;
  /** What SCRAM-SHA-256-PLUS binds to; null when the certificate gives nothing to bind to. */
  readonly binding: Buffer | null;
  readonly certificate: ClientCertificate | null;
  /** Why the certificate that the client showed is not to be believed. */
  readonly untrusted: string | null;
};

type Done = (error: Error | null, secured: Secured | null) => void;

/** https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-SSL */
const ALPN = 'postgresql';

/** TLS towards clients: one server of Node that never listens, made anew when the settings are read again. */
export class ClientTls {
  #server: tls.Server | null = null;
  #seed: Buffer;
  #expiresMs: number | null = null;
  /** Connections whose handshake is under way, by their two ends. */
  readonly #pending = new Map<string, Done>();

  /** @param seed where there is no private key; left out: one of its own */
  constructor(seed: Buffer = randomBytes(32)) {
    this.#seed = seed;
  }

  /** True when clients that ask for TLS get it. */
  get offered(): boolean {
    return this.#server !== null;
  }

  /** Until when our certificate is valid, as `Date.now` counts; null: there is none. */
  get expiresMs(): number | null {
    return this.#expiresMs;
  }

  /** A secret that restarts do not change where there is a private key, nor differs between several of us with the same one. */
  get seed(): Buffer {
    return this.#seed;
  }

  /**
   * Reads the files. Connections that are there keep what they began with.
   * @returns what puts it into force. @throws FairleadError bad_config
   */
  prepare(settings: ClientTlsSettings): () => void {
    if (settings.mode === 'disable' || settings.cert === null || settings.key === null) {
      return () => {
        this.#server = null;
        this.#expiresMs = null;
      };
    }
    const cert = readPem(settings.cert, 'tls.cert');
    const key = readPem(settings.key, 'tls.key');
    const server = this.#make(settings, cert, key);
    const expiresMs = Date.parse(new X509Certificate(cert).validTo);
    const seed = createHmac('sha256', key).update('fairlead: salts of users without a verifier').digest();
    return () => {
      this.#server = server;
      this.#seed = seed;
      this.#expiresMs = expiresMs;
    };
  }

  #make(settings: ClientTlsSettings, cert: string, key: string): tls.Server {
    const verifies = settings.ca !== null;
    const options: tls.TlsOptions = {
      cert,
      key,
      ALPNProtocols: [ALPN],
      minVersion: settings.min_version,
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      // judged by us: PostgreSQL's clients shall be told why
      requestCert: verifies,
      rejectUnauthorized: false,
      ...(settings.ca === null ? {} : { ca: readPem(settings.ca, 'tls.ca') }),
      ...(settings.ciphers === null ? {} : { ciphers: settings.ciphers }),
    };
    let server: tls.Server;
    let binding: Buffer | null;
    try {
      server = tls.createServer(options);
      binding = endPointBinding(new X509Certificate(cert).raw);
    } catch (error) {
      throw new FairleadError('bad_config', `tls: cert, key, ca and ciphers do not go together: ${messageOf(error)}`);
    }
    server.on('secureConnection', (socket) => {
      const done = this.#take(socket);
      if (done === undefined) return socket.destroy();
      done(null, { socket, binding, ...(verifies ? certificateOf(socket) : NO_CERTIFICATE) });
    });
    server.on('tlsClientError', (error, socket) => this.#take(socket)?.(error, null));
    return server;
  }

  /**
   * Begins TLS on a TCP connection; what was read of it already must have been given back to it (`unshift`). `done` is called at most once:
   * not when the connection breaks before.
   * @returns how to give up
   */
  secure(socket: net.Socket, done: Done): () => void {
    const id = idOf(socket);
    const server = this.#server as tls.Server;
    this.#pending.set(id, done);
    const forget = () => {
      if (this.#pending.get(id) === done) this.#pending.delete(id);
    };
    socket.on('error', () => {});
    socket.once('close', forget);
    server.emit('connection', socket);
    return forget;
  }

  #take(socket: net.Socket): Done | undefined {
    const id = idOf(socket);
    const done = this.#pending.get(id);
    this.#pending.delete(id);
    return done;
  }
}

/** The two ends of a TCP connection: what an encrypted socket and the one below it have in common. */
function idOf({ remoteAddress, remotePort, localAddress, localPort }: net.Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

const NO_CERTIFICATE = { certificate: null, untrusted: null };

function certificateOf(socket: tls.TLSSocket): Pick<Secured, 'certificate' | 'untrusted'> {
  const { raw, subject } = socket.getPeerCertificate() as Partial<tls.PeerCertificate>;
  if (raw === undefined) return NO_CERTIFICATE;
  if (!socket.authorized) return { certificate: null, untrusted: String(socket.authorizationError) };
  const name: unknown = subject?.CN;
  return {
    certificate: { commonName: typeof name === 'string' && !name.includes('\0') ? name : null },
    untrusted: null,
  };
}
