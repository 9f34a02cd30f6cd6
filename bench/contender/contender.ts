import type { UnprivilegedUser } from '../../src/embedded/unprivileged-user.ts';

/** Somewhere that clients can be pointed at. */
export type Contender = {
  readonly name: string;
  /** What it is and how it is set up, for the report. */
  readonly description: string;
  /** Of the database that is used. */
  readonly url: string;
  /** The process whose processor time and memory count, with its children; null: none stands between. */
  readonly pid: number | null;
  /** Clients that it can have at once. */
  readonly mostClients: number;
  /** Why not more. */
  readonly limitedBy: string;
  stop(): Promise<void>;
};

/** A server to stand in front of. */
export type Backend = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** Its SCRAM verifier as the server has it: what poolers know of a user without knowing the password. */
  readonly verifier: string;
};

/** What a contender is made of. */
export type Stage = {
  readonly primary: Backend;
  readonly replicas: readonly Backend[];
  /** Client connections that PostgreSQL has room for: a limit for whoever gives each client one of its own. */
  readonly serverConnections: number;
  /** Clients that a pooler must have room for. */
  readonly poolerClients: number;
  /** Clients that pgpool has processes for. */
  readonly processes: number;
  /** Runs what refuses to run as root. */
  readonly user: UnprivilegedUser | null;
};

/** Server connections that a pooler may open; `pool.size` has the same default. */
export const POOL_SIZE = 20;

export const DATABASE = 'postgres';

export function urlOf({ host, port, user, password }: Omit<Backend, 'verifier'>): string {
  return `postgres://${user}:${password}@${host}:${port}/${DATABASE}`;
}

export function directConnection({ primary, serverConnections }: Stage): Contender {
  return {
    name: 'direct',
    description: 'no proxy',
    url: urlOf(primary),
    pid: null,
    mostClients: serverConnections,
    limitedBy: `PostgreSQL has room for ${serverConnections} clients`,
    stop: async () => {},
  };
}
