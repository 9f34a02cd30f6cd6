import type { Identity } from '../backend/pools.ts';
import type { Config } from '../config/config.ts';
import { databaseEntry, type PoolSettings, poolSettings } from '../config/pool-settings.ts';

/** What holds for one session now; looked up again only when the configuration has been replaced. */
export class SessionSettings {
  readonly #config: () => Config;
  readonly #database: string;
  readonly #user: string;
  #of: Config | null = null;
  #settings: PoolSettings | null = null;

  constructor(config: () => Config, database: string, { user }: Identity) {
    this.#config = config;
    this.#database = database;
    this.#user = user;
  }

  get now(): PoolSettings {
    const config = this.#config();
    if (config !== this.#of || this.#settings === null) {
      this.#of = config;
      // users are meant as the servers see them
      const user = databaseEntry(config, this.#database)?.user ?? this.#user;
      this.#settings = poolSettings(config, this.#database, user);
    }
    return this.#settings;
  }
}
