/** The first bytes of a connection to a server: TCP, and the agreement on TLS. https://www.postgresql.org/docs/18/libpq-ssl.html */
import net from 'node:net';
import tls from 'node:tls';
import type { ServerTls } from '../config/config.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { SSL_REQUEST } from '../wire/startup.ts';
import { carriedBy } from './abort-socket.ts';
import { slabReading } from './read-slabs.ts';
import { isLoopback, tlsOptions } from './server-tls.ts';

export type ServerAddress = { readonly host: string; readonly port: number; readonly tls: ServerTls };

export type Encryption = 'tls' | 'plain';

const SSL_YES = 0x53;
const SSL_NO = 0x4e;
const SSL_ERROR = 0x45;

/** What may be tried, in this order. */
const ORDER: Readonly<Record<ServerTls['mode'], readonly Encryption[]>> = {
  disable: ['plain'],
  allow: ['plain', 'tls'],
  prefer: ['tls', 'plain'],
  require: ['tls'],
  'verify-ca': ['tls'],
  'verify-full': ['tls'],
};

/** Nobody listens in on loopback: there `prefer`, which protects against no more, does without, unless certificates were given. */
function orderFor({ host, tls: { mode, ca, cert } }: ServerAddress): readonly Encryption[] {
  return ORDER[mode === 'prefer' && ca === null && cert === null && isLoopback(host) ? 'allow' : mode];
}

/** Addresses without TLS as first choice where pg_hba.conf wants it: it comes first from then on. The other way round would be for ever less safe. */
const TURNED = new Set<string>();

const idOf = ({ host, port, tls: { mode } }: ServerAddress) => `${mode} ${host} ${port}`;

/** What to try with this server, the more likely one first. */
export function encryptionsFor(address: ServerAddress): readonly Encryption[] {
  const order = orderFor(address);
  return TURNED.has(idOf(address)) ? [...order].reverse() : order;
}

/** A login got through: where that was not the first choice, it is from now on. */
export function letIn(address: ServerAddress, encryption: Encryption): void {
  const [first] = orderFor(address);
  if (first === encryption) TURNED.delete(idOf(address));
  else if (first === 'plain') TURNED.add(idOf(address));
}

/** True when the other choice may help: pg_hba.conf has no line for this one, or the certificate's check failed where TLS is optional. */
export function refusedByEncryption(error: unknown): boolean {
  if (error instanceof TlsRefused) return true;
  const { serverState, code } = error as { serverState?: string; code?: string };
  return serverState === '28000' || code === '28000';
}

/** TLS with this server does not come about, though it answers: its certificate, ours, or it has no TLS. */
export class TlsRefused extends FairleadError {
  constructor(address: ServerAddress, why: string, remedy: string) {
    super('server_login_failed', `TLS with ${address.host}:${address.port} failed: ${why}`, remedy);
  }
}

/** Codes of OpenSSL and of the verification of certificates, as Node names them; those of the network are others. */
const TLS_FAULT =
  /^(ERR_(TLS|SSL|OSSL)_|CERT_|CRL_|UNABLE_TO_|ERROR_IN_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_(CA|PURPOSE)|PATH_LENGTH_|EPROTO$)/;

/** True when TLS is what went wrong: the server is there. */
export function isTlsFault(error: unknown): boolean {
  return TLS_FAULT.test((error as { code?: string }).code ?? '');
}

export function tlsFault(address: ServerAddress, error: unknown): TlsRefused {
  const { code } = error as { code?: string };
  return new TlsRefused(
    address,
    `${messageOf(error)}${code === undefined ? '' : ` (${code})`}`,
    'see cluster.tls: ca verifies the server, cert and key are shown to it, mode says what is checked',
  );
}

/**
 * Connects. `done` is called once, with a socket that has no listeners of ours; with TLS where `encryption` says so and the server has it.
 * Without it on the server, mode `prefer` goes on in plain text on the same connection.
 * @param reached called when the host has accepted the connection
 * @returns how to give up; `done` is not called then
 */
export function openServerSocket(
  address: ServerAddress,
  encryption: Encryption,
  done: (error: Error | null, socket: net.Socket | null) => void,
  reached: () => void = () => {},
): () => void {
  const tcp: net.Socket = net.connect({
    host: address.host,
    port: address.port,
    noDelay: true,
    keepAlive: true,
    // TLS reads by itself from what lies below it
    ...(encryption === 'plain' ? { onread: slabReading(() => tcp) } : {}),
  });
  let current: net.Socket = tcp;
  const finish = (error: Error | null) => {
    for (const socket of new Set([tcp, current])) {
      socket.off('error', onError).off('close', onClose).off('data', onAnswer);
      if (error === null) continue;
      socket.on('error', () => {});
      socket.destroy();
    }
    // what an encrypted stream lies on reports through it
    if (current !== tcp) tcp.on('error', () => {});
    done(error, error === null ? current : null);
  };
  const onError = (error: Error) => finish(current !== tcp && isTlsFault(error) ? tlsFault(address, error) : error);
  const onClose = () =>
    finish(Object.assign(new Error('connection closed while TLS was agreed on'), { code: 'ECONNRESET' }));
  const onAnswer = (answer: Buffer) => {
    tcp.off('data', onAnswer);
    // an error in words, which somebody in between could have put there: the server cannot serve anybody now
    if (answer[0] === SSL_ERROR) {
      return finish(Object.assign(new Error('the server refused the connection'), { code: 'ECONNRESET' }));
    }
    if (answer.length !== 1) {
      // bytes before the handshake could be smuggled into the encrypted stream (CVE-2021-23222)
      const remedy = 'is it a PostgreSQL server? look into its log';
      return finish(new TlsRefused(address, 'the server did not answer the request for TLS with one byte', remedy));
    }
    if (answer[0] === SSL_YES) return encrypt();
    if (answer[0] === SSL_NO && address.tls.mode === 'prefer') return finish(null);
    const remedy = "ALTER SYSTEM SET ssl = 'on' with ssl_cert_file and ssl_key_file, or set cluster.tls.mode: prefer";
    finish(new TlsRefused(address, 'the server does not offer TLS', remedy));
  };
  const encrypt = () => {
    let secured: tls.TLSSocket;
    try {
      secured = tls.connect({ ...tlsOptions(address.host, address.tls), socket: tcp }, () => finish(null));
    } catch (error) {
      return finish(error as Error);
    }
    tcp.off('error', onError).off('close', onClose);
    carriedBy(secured, tcp);
    current = secured;
    secured.on('error', onError).on('close', onClose);
  };
  tcp.on('error', onError).on('close', onClose);
  tcp.once('connect', () => {
    reached();
    if (encryption === 'plain') return finish(null);
    tcp.on('data', onAnswer);
    tcp.write(SSL_REQUEST);
  });
  return () => {
    done = () => {};
    finish(new Error('given up'));
  };
}
