import type { Identity } from '../backend/pools.ts';
import { type LoggedIn, logIn } from '../backend/server-login.ts';
import type { TopologyNode } from '../cluster/topology.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Services } from './services.ts';

/** What a startup packet says about replication: PostgreSQL reads a boolean, or `database`. */
export function asksForReplication(parameters: ReadonlyMap<string, string>): boolean {
  const value = parameters.get('replication');
  return value !== undefined && !/^(f|fa|fal|fals|false|of|off|n|no|0)$/i.test(value);
}

/** Physical replication belongs to no database: rules of access name it `replication`. */
export function asksForPhysicalReplication(parameters: ReadonlyMap<string, string>): boolean {
  return asksForReplication(parameters) && parameters.get('replication')?.toLowerCase() !== 'database';
}

/** Who the server must not hear of from the client: it is told by us. */
const OURS = new Set(['user', 'database']);

/** A login at the primary, and the node's name. */
export type ReplicationLogin = { readonly node: string; readonly login: LoggedIn };

type ReplicationClient = {
  readonly database: string;
  readonly identity: Identity;
  readonly parameters: ReadonlyMap<string, string>;
};

/**
 * Logs in to the primary as the client wants to: all its startup parameters go along. Waits for a primary.
 * @param done called once, later
 * @returns how to give up waiting
 */
export function openReplication(
  services: Services,
  client: ReplicationClient,
  done: (opened: ReplicationLogin | null, error: FairleadError | null) => void,
): () => void {
  const wanted = new AbortController();
  open(services, client, wanted.signal).then(
    (opened) => {
      if (!wanted.signal.aborted) done(opened, null);
      else closeReplication(opened);
    },
    (error) => {
      if (wanted.signal.aborted) return;
      done(null, error instanceof FairleadError ? error : new FairleadError('server_unreachable', messageOf(error)));
    },
  );
  return () => wanted.abort();
}

async function open(
  { cluster, pools }: Services,
  client: ReplicationClient,
  signal: AbortSignal,
): Promise<ReplicationLogin> {
  const { primary } = await cluster.topology.when((topology) => topology.primary !== null && !topology.paused, signal);
  const node = primary as TopologyNode;
  const parameters = [...client.parameters].filter(([name]) => !OURS.has(name) && !name.startsWith('_pq_.'));
  const opened = {
    node: node.name,
    login: await logIn(pools.login(node, client.database, client.identity, parameters)),
  };
  if (cluster.topology.value.primary?.name === node.name) return opened;
  closeReplication(opened);
  throw new FairleadError('no_primary', `${node.name} is not the primary any more`);
}

export function closeReplication({ login }: ReplicationLogin): void {
  login.socket.on('error', () => {});
  login.socket.destroy();
}
