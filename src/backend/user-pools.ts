import type { TopologyNode } from '../cluster/topology.ts';
import type { Config } from '../config/config.ts';
import type { Pool, Purpose } from './pool.ts';
import type { Identity, Pools } from './pools.ts';

/** The pools of one database and user, found again without making up a key for every statement. */
export class UserPools {
  readonly #pools: Pools;
  readonly #config: () => Config;
  readonly #database: string;
  readonly #client: Identity;
  #of: Config;
  readonly #found: Readonly<Record<Purpose, Map<string, Pool>>> = { rw: new Map(), ro: new Map() };

  constructor(pools: Pools, config: () => Config, database: string, client: Identity) {
    this.#pools = pools;
    this.#config = config;
    this.#database = database;
    this.#client = client;
    this.#of = config();
  }

  of(node: TopologyNode, purpose: Purpose): Pool {
    const config = this.#config();
    if (config !== this.#of) {
      this.#of = config;
      this.#found.rw.clear();
      this.#found.ro.clear();
    }
    const found = this.#found[purpose].get(node.name);
    if (found?.live === true) return found;
    const pool = this.#pools.of(node, purpose, this.#database, this.#client);
    this.#found[purpose].set(node.name, pool);
    return pool;
  }
}
