import type { ControlTarget } from '../backend/control-connection.ts';
import type { LoginTarget } from '../backend/server-login.ts';
import type { ServerTls } from '../config/config.ts';
import { FairleadError } from '../core/errors.ts';
import { type Conninfo, formatConninfo, parseConninfo } from '../failover/conninfo.ts';

/** The server that another one is made to follow. */
export type Source = {
  /** libpq connection string of a role that may replicate; becomes `primary_conninfo`. */
  readonly conninfo: string;
  /** Physical slot on it to stream from; null: none. */
  readonly slot: string | null;
  /** libpq connection string for pg_rewind, which reads the server's files over SQL; null: the same. */
  readonly rewindConninfo: string | null;
};

const LOGIN_MS = 10_000;
const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;

/** How to open a connection of the replication protocol to it. @throws FairleadError bad_parameter */
export function replicationLogin({ conninfo }: Pick<Source, 'conninfo'>): LoginTarget {
  const info = parsed(conninfo);
  const password = info.get('password');
  return {
    node: 'the source',
    host: info.get('host') ?? info.get('hostaddr') ?? '127.0.0.1',
    port: Number(info.get('port') ?? 5432),
    tls: tlsOf(info),
    user: info.get('user') ?? '',
    // of no meaning for physical replication, and never empty
    database: 'replication',
    secret: password === undefined ? null : { kind: 'password', password },
    parameters: [
      ['replication', 'true'],
      ['application_name', 'fairlead-clone'],
    ],
    timeoutMs: LOGIN_MS,
  };
}

/** The string without its password, which goes into the environment: a command line is for everybody to see. */
export function withoutPassword(conninfo: string): { readonly pairs: Conninfo; readonly password: string | null } {
  const pairs = new Map(parsed(conninfo));
  const password = pairs.get('password') ?? null;
  pairs.delete('password');
  return { pairs, password };
}

function parsed(conninfo: string): Conninfo {
  try {
    const info = parseConninfo(conninfo);
    if ((info.get('user') ?? '') === '') throw new RangeError('it names no user');
    return info;
  } catch (error) {
    throw new FairleadError(
      'bad_parameter',
      `source.conninfo: ${(error as Error).message}`,
      'give host, port and user',
    );
  }
}

function tlsOf(info: Conninfo): ServerTls {
  const mode = MODES.find((known) => known === info.get('sslmode')) ?? 'prefer';
  const cert = info.get('sslcert') ?? null;
  return {
    mode,
    ca: info.get('sslrootcert') ?? null,
    cert,
    key: cert === null ? null : (info.get('sslkey') ?? null),
    cleartext_password: 'encrypted',
  };
}

/** pg_rewind reads the source's files as the cluster's own role. */
export function rewindConninfo({ host, port, user, password, database, tls }: ControlTarget): string {
  const pairs = new Map([
    ['host', host],
    ['port', String(port)],
    ['user', user],
    ['dbname', database],
    ['application_name', 'fairlead-rewind'],
  ]);
  if (password !== null) pairs.set('password', password);
  // the files of cluster.tls are not on the node's machine
  if (!/^(disable|allow|prefer)$/.test(tls.mode)) pairs.set('sslmode', 'require');
  return formatConninfo(pairs);
}
