/** The shape that both kinds of test cluster have. */
import pg from 'pg';
import type { Settings } from '../../src/embedded/server-settings.ts';
import type { PrivateNetwork } from './private-network.ts';

export type TestNode = {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Superuser, database postgres, directly to this server. */
  readonly url: string;
  /** The same on this machine, where that is another way: over the server's socket, which no cut of the network closes. */
  readonly localUrl: string;
  /** Runs one statement as superuser on a connection of its own, over that way. */
  query<Row extends pg.QueryResultRow = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>;
  /** SIGKILL to the postmaster: no goodbye, crash recovery at the next start. Resolves when it has ended. */
  kill9(): Promise<void>;
  /** SIGSTOP to every process of the server: connections stay open and nothing answers. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Starts a killed or stopped server again, as it was; resolves when it answers. */
  start(): Promise<void>;
  /** @param patienceMs after this everything is killed */
  stop(mode?: 'fast' | 'immediate', patienceMs?: number): Promise<void>;
};

export type TestCluster = {
  /** pg1 began as the primary. */
  readonly nodes: readonly TestNode[];
  readonly superuser: string;
  readonly password: string;
  readonly backend: 'embedded' | 'docker';
  /** PostgreSQL's major version. */
  readonly major: number;
  node(name: string): TestNode;
  /** Removes everything, whatever state it is in. */
  stop(): Promise<void>;
};

export type TestClusterOptions = {
  /** Default 2. */
  readonly replicas?: number;
  /** Further settings of every server. */
  readonly settings?: Settings;
  /** Each server in a network of its own; see `private-network.ts`. Not for containers. */
  readonly network?: PrivateNetwork;
  /** Directory of the server's programs; default FAIRLEAD_TEST_PG_BIN, else the bundled ones. Not for containers. */
  readonly pgBin?: string;
};

export type ResolvedOptions = TestClusterOptions & { readonly replicas: number; readonly settings: Settings };

/** A server that is frozen is given up after this. */
const CONNECT_MS = 20_000;

/** Runs one statement on a new connection. One that is not answered is given up after `timeoutMs`. */
export async function queryOnce<Row extends pg.QueryResultRow>(
  url: string,
  text: string,
  values: unknown[] = [],
  timeoutMs = 60_000,
): Promise<Row[]> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: timeoutMs,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query<Row>(text, values)).rows;
  } finally {
    await client.end().catch(() => {});
  }
}
