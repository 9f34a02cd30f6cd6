import net from 'node:net';
import tls from 'node:tls';
import type { ServerTls } from '../config/config.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { readPem } from './pem.ts';

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

/** True when what is sent there does not leave this machine. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/** Whether a password may be sent as it is: where nobody can listen, or where the configuration says so. */
export function mayCarryPassword(
  address: { readonly host: string; readonly tls: ServerTls },
  encrypted: boolean,
): boolean {
  return encrypted || isLoopback(address.host) || address.tls.cleartext_password === 'allow';
}

/** Making one parses certificates: kept while the texts are the same. */
const CONTEXTS = new Map<string, tls.SecureContext>();
const MAX_CONTEXTS = 64;

/** True when a server's certificate is verified: with libpq, too, naming a CA is asking for that in every mode. */
function verifies(settings: ServerTls): boolean {
  return settings.ca !== null || settings.mode === 'verify-ca' || settings.mode === 'verify-full';
}

function contextOf(settings: ServerTls): tls.SecureContext {
  const ca = settings.ca === null || settings.ca === 'system' ? null : readPem(settings.ca, 'cluster.tls.ca');
  const cert = settings.cert === null ? null : readPem(settings.cert, 'cluster.tls.cert');
  const key = settings.key === null ? null : readPem(settings.key, 'cluster.tls.key');
  const id = JSON.stringify([ca, cert, key]);
  const known = CONTEXTS.get(id);
  if (known !== undefined) return known;
  let made: tls.SecureContext;
  try {
    made = tls.createSecureContext({
      minVersion: 'TLSv1.2',
      ...(ca === null ? {} : { ca }),
      ...(cert === null ? {} : { cert }),
      ...(key === null ? {} : { key }),
    });
  } catch (error) {
    throw new FairleadError('bad_config', `cluster.tls: ca, cert and key do not make a context: ${messageOf(error)}`);
  }
  if (CONTEXTS.size >= MAX_CONTEXTS) CONTEXTS.clear();
  CONTEXTS.set(id, made);
  return made;
}

/**
 * How to begin TLS on a connected socket, by libpq's rules: the name is checked by `verify-full` only.
 * @throws FairleadError bad_config when a file cannot be read or is not what it should be
 */
export function tlsOptions(host: string, settings: ServerTls): tls.ConnectionOptions {
  return {
    secureContext: contextOf(settings),
    rejectUnauthorized: verifies(settings),
    // PostgreSQL 17 and newer speak it, older ones ignore it
    ALPNProtocols: ['postgresql'],
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
    checkServerIdentity: (_name, certificate) =>
      settings.mode === 'verify-full' ? tls.checkServerIdentity(host, certificate) : undefined,
  };
}

/** The certificate the server showed, as DER; null without TLS. */
export function peerCertificate(socket: net.Socket | null): Buffer | null {
  if (!(socket instanceof tls.TLSSocket)) return null;
  // empty when the connection is gone already
  return (socket.getPeerCertificate() as { raw?: Buffer }).raw ?? null;
}
