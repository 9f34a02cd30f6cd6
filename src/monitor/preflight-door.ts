import { readRules } from '../config/access-rules.ts';
import type { Config } from '../config/config.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { ClientTls } from '../transport/client-tls.ts';
import { type Finding, fine, problem, warning } from './finding.ts';

const DAY_MS = 86_400_000;
const SOON_MS = 30 * DAY_MS;

/** Judges what clients will meet: the certificate, and rules that let in more than they seem to. */
export function judgeDoor(config: Config, atMs = Date.now()): Finding[] {
  return [...judgeCertificate(config, atMs), ...judgeRules(config)];
}

function judgeCertificate({ tls }: Config, atMs: number): Finding[] {
  const offer = new ClientTls();
  try {
    offer.prepare(tls)();
  } catch (error) {
    return [problem(null, messageOf(error), error instanceof FairleadError ? error.remedy : null)];
  }
  const { expiresMs } = offer;
  if (expiresMs === null) return [];
  const day = new Date(expiresMs).toISOString().slice(0, 10);
  const renew = 'renew it and reload: connections that are there go on';
  if (expiresMs < atMs) return [problem(null, `tls.cert: expired on ${day}`, renew)];
  if (expiresMs - atMs < SOON_MS) return [warning(null, `tls.cert: expires on ${day}`, renew)];
  return [fine(null, `clients are offered TLS, with a certificate valid until ${day}`)];
}

function judgeRules({ auth, tls }: Config): Finding[] {
  const offered = tls.mode !== 'disable' && tls.cert !== null;
  const required = offered && /^(require|verify)/.test(tls.mode);
  return readRules(auth).flatMap((rule) => {
    const { where, connection, method, address } = rule;
    if (connection === 'hostssl' && !offered) {
      return [warning(null, `${where}: fits nobody, for clients are not offered TLS`, 'set tls.cert and tls.key')];
    }
    if (connection === 'local' || address === null) return [];
    if (method === 'trust' && address.kind === 'all') {
      return [
        warning(null, `${where}: trust lets in everybody who reaches the port`, 'name addresses, or another method'),
      ];
    }
    const clear = method === 'password' && connection !== 'hostssl' && !required;
    return clear
      ? [warning(null, `${where}: passwords cross the network in clear text`, 'write hostssl, or scram-sha-256')]
      : [];
  });
}
