/**
 * The configuration: one declaration gives the type, the defaults, the checks and the help text.
 * Keys are written in snake_case in YAML and stay so in the program: one name from the file to the code.
 */
import { z } from 'zod';
import { failoverSchema } from './failover-section.ts';
import { hooksSchema } from './hooks.ts';
import { type Address, address, lagLimit, sizeBytes, timeMs } from './units.ts';

const secret = z.string().describe('a value, ${ENVIRONMENT_VARIABLE} or file:/path');

const serverTls = z.strictObject({
  mode: z
    .enum(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'])
    .default('prefer')
    .describe("TLS towards servers, as libpq's sslmode"),
  ca: z
    .string()
    .nullable()
    .default(null)
    .describe('certificates that servers are verified with: a file, PEM, or system'),
  cert: z.string().nullable().default(null).describe('certificate that servers are shown: a file, or PEM'),
  key: secret.nullable().default(null).describe('its private key: a file, or PEM'),
  cleartext_password: z
    .enum(['encrypted', 'allow'])
    .default('encrypted')
    .describe('where a server gets a password in clear text: over TLS and loopback only, or anywhere'),
});

const clientTls = z.strictObject({
  mode: z
    .enum(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'])
    .default('prefer')
    .describe('TLS towards clients: offered where there is a certificate; require and above refuse clients without it'),
  cert: z
    .string()
    .nullable()
    .default(null)
    .describe('certificate that clients are shown, and its chain: a file, or PEM'),
  key: secret.nullable().default(null).describe('its private key: a file, or PEM'),
  ca: z
    .string()
    .nullable()
    .default(null)
    .describe("certificates that clients' certificates are verified with: a file, or PEM"),
  min_version: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.2').describe('oldest version of TLS that is spoken'),
  ciphers: z.string().nullable().default(null).describe('cipher suites as OpenSSL lists them'),
});

const unixSocket = z.strictObject({
  directory: z
    .string()
    .nullable()
    .default(null)
    .describe('where clients on this machine find .s.PGSQL.PORT; no Unix socket without it'),
  mode: z
    .union([z.string(), z.number()])
    .transform(String)
    .pipe(z.string().regex(/^0?[0-7]{3}$/, 'write an octal mode such as "0770"'))
    .default('0777')
    .describe('who may connect to it: its permissions, in octal'),
});

const node = z.preprocess(
  (value) => (typeof value === 'object' ? value : { address: value }),
  z.strictObject({
    address: address.describe('HOST:PORT of the PostgreSQL server'),
    zone: z.string().nullable().default(null).describe('where it stands; shown on the dashboard'),
    weight: z.number().positive().default(1).describe('share of reads among equals; preference in a failover'),
    promotable: z.boolean().default(true).describe('false: never promoted'),
    subscription: z
      .string()
      .regex(/^[\x20-\x7e]{1,63}$/, 'write a name of 1 to 63 ASCII characters')
      .nullable()
      .default(null)
      .describe('it is no replica but a logical subscriber, by this subscription in cluster.database'),
    tls: serverTls.optional().describe('instead of cluster.tls'),
    agent: address.nullable().default(null).describe('HOST:PORT of the `fairlead agent` beside it; none: nobody'),
  }),
);

/** What `fairlead agent` reads beside a server; of it, Fairlead itself reads `token` and `tls_ca`. */
export const agentSchema = z.strictObject({
  listen: address.default({ host: '127.0.0.1', port: 8433 }).describe('where the agent is reached'),
  token: secret.nullable().default(null).describe('what whoever asks an agent has to know; the same for all of them'),
  tls_cert: z
    .string()
    .nullable()
    .default(null)
    .describe('certificate that the agent shows, and its chain: a file, or PEM'),
  tls_key: secret.nullable().default(null).describe('its private key: a file, or PEM'),
  tls_ca: z
    .string()
    .nullable()
    .default(null)
    .describe(
      'asks agents with TLS, and verifies their certificates with this: a file, PEM, or system; none: without TLS',
    ),
  data_directory: z.string().nullable().default(null).describe("the server's data directory"),
  bin_directory: z
    .string()
    .nullable()
    .default(null)
    .describe('holds postgres and pg_rewind, for instance /usr/lib/postgresql/15/bin'),
  config_file: z.string().nullable().default(null).describe('postgresql.conf, where it is not in the data directory'),
  start_command: z
    .string()
    .nullable()
    .default(null)
    .describe('starts the server instead of the agent, for instance sudo systemctl start postgresql@15-main'),
  settings: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String))
    .default({})
    .describe('settings of a server that is made by cloning, such as port'),
  keep_old: z.boolean().default(false).describe('true: the directory that a clone replaced is kept beside it'),
  stop_timeout: timeMs.default(60_000).describe('a server that does not stop in this time is stopped immediately'),
  start_timeout: timeMs.default(300_000).describe('time for a server to become consistent after its start'),
});

export type AgentConfig = z.output<typeof agentSchema>;

const user = z.preprocess(
  (value) => (typeof value === 'object' ? value : { password: value }),
  z.strictObject({
    password: secret.nullable().default(null).describe('password, or a SCRAM-SHA-256$… verifier as in pg_authid'),
  }),
);

const POOL_MODES = ['transaction', 'session', 'statement'] as const;

const limit = z.number().int().nonnegative();
/** What a database or a user has of its own; null: as in `pool`. */
const own = {
  mode: z.enum(POOL_MODES).nullable().default(null),
  size: z.number().int().positive().nullable().default(null),
  limit: limit.nullable().default(null),
  time: timeMs.nullable().default(null),
};

const database = z.strictObject({
  dbname: z.string().min(1).nullable().default(null).describe('its name on the servers, if that is another one'),
  user: z.string().min(1).nullable().default(null).describe('who to log in to the servers as, whoever the client is'),
  password: secret.nullable().default(null).describe('password of that user'),
  pool_mode: own.mode.describe('as pool.mode'),
  size: own.size.describe('as pool.size'),
  min_size: own.limit.describe('as pool.min_size'),
  reserve_size: own.limit.describe('as pool.reserve_size'),
  server_lifetime: own.time.describe('as pool.server_lifetime'),
  max_connections: own.limit.describe('as pool.max_database_connections'),
  max_clients: own.limit.describe('as pool.max_database_clients'),
});

const userLimits = z.strictObject({
  pool_mode: own.mode.describe('as pool.mode; wins over the database'),
  size: own.size.describe('as pool.size; wins over the database'),
  reserve_size: own.limit.describe('as pool.reserve_size; wins over the database'),
  max_connections: own.limit.describe('as pool.max_user_connections'),
  max_clients: own.limit.describe('as pool.max_user_clients'),
  query_timeout: own.time.describe('as pool.query_timeout'),
  idle_transaction_timeout: own.time.describe('as pool.idle_transaction_timeout'),
  client_idle_timeout: own.time.describe('as pool.client_idle_timeout'),
});

export const configSchema = z.strictObject({
  listen: address.default({ host: '127.0.0.1', port: 6432 }).describe('where clients connect'),
  workers: z
    .number()
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe('processes that serve clients; with 1, the one that does everything else too'),
  listen_read_only: address
    .nullable()
    .default(null)
    .describe('where clients connect that only read: a port that looks like a standby'),
  tls: clientTls.prefault({}),
  unix_socket: unixSocket.prefault({}),
  http: address.default({ host: '127.0.0.1', port: 8432 }).describe('dashboard, API and metrics'),
  http_token: secret.nullable().default(null).describe('bearer token; required for POST when http is not loopback'),
  cluster: z.strictObject({
    database: z.string().default('postgres').describe('database of the control connections and of schema fairlead'),
    user: z.string().describe('role of the control connections'),
    password: secret.nullable().default(null).describe('its password'),
    tls: serverTls.prefault({}),
    nodes: z
      .record(z.string().regex(/^[A-Za-z0-9_.-]{1,48}$/), node)
      .describe('the servers; roles are discovered, never configured'),
    probe_interval: timeMs.default(500).describe('how often each node is asked how it is'),
    probe_timeout: timeMs.default(1000).describe('an answer later than this counts as none'),
  }),
  routing: z
    .strictObject({
      consistency: z
        .enum(['eventual', 'session', 'strong', 'primary'])
        .default('session')
        .describe('what a read must have seen'),
      max_lag: lagLimit
        .default({ ms: 10_000, bytes: null })
        .describe('a replica further behind serves no reads but of tables that have not changed since; time or bytes'),
      freshness_wait: timeMs
        .default(100)
        .describe('how long a read may wait for a replica before the primary takes it'),
      transactions: z
        .enum(['primary', 'split'])
        .default('primary')
        .describe('where transactions run that do not say READ ONLY; split: on a replica until their first write'),
      audit: z
        .number()
        .min(0)
        .max(1)
        .default(0)
        .describe('share of the reads on replicas that are checked against the facts; 0: none'),
    })
    .prefault({}),
  pool: z
    .strictObject({
      mode: z
        .enum(POOL_MODES)
        .default('transaction')
        .describe(
          'when a server connection goes back to the pool: after the transaction, the session or the statement',
        ),
      size: z.number().int().positive().default(20).describe('server connections per node, database and user'),
      min_size: limit.default(0).describe('kept open per pool while it has clients'),
      reserve_size: limit.default(0).describe('further connections for a pool whose clients wait too long'),
      reserve_timeout: timeMs.default(5000).describe('a client that waits longer gets one of the reserve'),
      shared_connections: limit
        .default(4)
        .describe('of a pool, how many single reads of several sessions may share at once; 0: none'),
      max_database_connections: limit.default(0).describe('per node and database, over all its users; 0: no limit'),
      max_user_connections: limit.default(0).describe('per node and user, over all databases; 0: no limit'),
      max_clients: z.number().int().positive().default(10_000).describe('client connections in all'),
      max_database_clients: limit.default(0).describe('client connections per database; 0: no limit'),
      max_user_clients: limit.default(0).describe('client connections per user; 0: no limit'),
      startup_timeout: timeMs.default(15_000).describe('time for a client to log in'),
      connect_timeout: timeMs.default(3000).describe('time for a server to accept a login'),
      checkout_timeout: timeMs.default(15_000).describe('how long a statement waits for a free server connection'),
      query_timeout: timeMs.default(0).describe('a statement that runs longer is cancelled; 0: never'),
      idle_transaction_timeout: timeMs.default(0).describe('a client idle in a transaction longer is ended; 0: never'),
      client_idle_timeout: timeMs
        .default(0)
        .describe('a client idle outside of a transaction longer is ended; 0: never'),
      notification_backlog: sizeBytes
        .default(16 * 1024 * 1024)
        .describe('notifications kept for a client that does not read them; one with more is ended'),
      server_idle_timeout: timeMs.default(600_000).describe('an idle server connection is closed after this'),
      server_lifetime: timeMs.default(3_600_000).describe('a server connection is replaced after this, with jitter'),
      check_delay: timeMs
        .default(30_000)
        .describe('a server connection idle longer is asked whether it lives before it is used; 0: never'),
      reset_query: z
        .string()
        .default('DISCARD ALL')
        .describe('run when a session gives its server connection back in pool mode session; empty: nothing'),
      stats_period: timeMs.default(60_000).describe('what averages in SHOW STATS are taken over'),
    })
    .prefault({}),
  databases: z
    .record(z.string().min(1), database)
    .default({})
    .describe('databases that differ from what pool says; `*` stands for those not listed'),
  users: z.record(z.string().min(1), userLimits).default({}).describe('users that differ from what pool says'),
  failover: failoverSchema.prefault({}),
  hooks: hooksSchema.prefault({}),
  replication: z
    .strictObject({
      mode: z
        .enum(['async', 'sync', 'quorum'])
        .default('async')
        .describe('async: left alone; sync: commits wait for chosen followers; quorum: for any of them'),
      copies: z
        .number()
        .int()
        .min(1)
        .max(64)
        .default(1)
        .describe('followers that have a commit before it is acknowledged'),
      degrade: z
        .enum(['block', 'async'])
        .default('block')
        .describe('with fewer healthy followers: commits wait, or are acknowledged with fewer copies'),
    })
    .prefault({}),
  slots: z
    .strictObject({
      warn_at: sizeBytes
        .default(1024 ** 3)
        .describe('a slot that keeps this much WAL on the primary is an event, as is one that is about to lose some'),
      drop_at: sizeBytes
        .nullable()
        .default(null)
        .describe("an inactive follower's slot that keeps this much WAL is dropped; none: never"),
    })
    .prefault({}),
  agent: agentSchema.prefault({}),
  auth: z
    .strictObject({
      type: z
        .enum(['scram-sha-256', 'md5', 'password', 'cert', 'trust'])
        .default('scram-sha-256')
        .describe('how clients prove who they are where there are no rules'),
      rules: z
        .array(z.string())
        .default([])
        .describe('who may come in and how, in lines of pg_hba.conf; the first that fits decides'),
      hba_file: z.string().nullable().default(null).describe('further rules: a file such as pg_hba.conf'),
      ident_file: z
        .string()
        .nullable()
        .default(null)
        .describe('which user the owner of a certificate may be: a file such as pg_ident.conf'),
      users: z.record(z.string(), user).default({}).describe('users that may connect, with their passwords'),
      users_file: z
        .string()
        .nullable()
        .default(null)
        .describe("further users: a file such as PgBouncer's userlist.txt"),
      query: z
        .string()
        .default('auto')
        .describe(
          'further users, asked of the servers: auto, off, or SQL with $1 for the user that answers name and secret',
        ),
      admins: z
        .array(z.string())
        .default([])
        .describe('users that may use the admin console; empty: cluster.user only'),
      stats_users: z.array(z.string()).default([]).describe('users that may only look, in the admin console'),
    })
    .prefault({}),
  shutdown_timeout: timeMs.default(20_000).describe('how long SIGTERM waits for transactions to end'),
  log: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info') }).prefault({}),
});

export type Config = z.output<typeof configSchema>;
/** What may be written: everything with a default may be left out. */
export type ConfigInput = z.input<typeof configSchema>;

/** TLS towards one server. Files are read when a connection is made, so that renewed certificates need no restart. */
export type ServerTls = Readonly<z.output<typeof serverTls>>;

/** TLS towards clients. Files are read at the start and at each reload. */
export type ClientTlsSettings = Readonly<Config['tls']>;

/** One PostgreSQL server as configured. */
export type NodeConfig = {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly tls: ServerTls;
  readonly zone: string | null;
  readonly weight: number;
  readonly promotable: boolean;
  /** Of a logical subscriber: a server of its own that gets tables of the primary by this subscription. Left out: a member of the cluster. */
  readonly subscription?: string;
};

/** The configured nodes. */
export function nodesOf(config: Config): readonly NodeConfig[] {
  return Object.entries(config.cluster.nodes).map(([name, n]) => ({
    name,
    host: n.address.host,
    port: n.address.port,
    tls: n.tls ?? config.cluster.tls,
    zone: n.zone,
    weight: n.weight,
    promotable: n.promotable && n.subscription === null,
    ...(n.subscription === null ? {} : { subscription: n.subscription }),
  }));
}

/** Where the agent of each node is; those that have none are not in it. */
export function agentsOf(config: Config): ReadonlyMap<string, Address> {
  const found = Object.entries(config.cluster.nodes).flatMap(([name, { agent }]) =>
    agent === null ? [] : [[name, agent] as const],
  );
  return new Map(found);
}

/** True where somebody else decides who is primary, and no server's configuration is touched. */
export function followsOthers({ failover: { mode } }: Config): boolean {
  return mode === 'off' || mode === 'follow';
}

/** Those that are servers of the cluster: primary and physical replicas. */
export function membersOf<Node extends Pick<NodeConfig, 'subscription'>>(nodes: readonly Node[]): readonly Node[] {
  return nodes.filter(({ subscription }) => subscription === undefined);
}
