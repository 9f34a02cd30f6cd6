import type { AuthQuery } from '../backend/auth-query.ts';
import type { Config } from '../config/config.ts';
import type { Log } from '../core/log.ts';
import { parseSecret, type Secret, type SecretLookup } from '../wire/secret.ts';
import { UserList } from './user-list.ts';

/** What is known of users' passwords, and from where: `auth.users`, then `auth.users_file`, then the servers. */
export class Credentials {
  readonly #config: () => Config;
  readonly #query: AuthQuery;
  readonly #list: UserList;

  constructor(config: () => Config, query: AuthQuery, log: Log) {
    this.#config = config;
    this.#query = query;
    this.#list = new UserList(log);
  }

  /** Reads the users file. @throws FairleadError bad_config */
  load(config = this.#config()): void {
    this.#list.load(config.auth.users_file);
  }

  readonly lookup: SecretLookup = async (_database, user) => {
    const listed = this.#listed(user);
    return listed === undefined ? await this.#query.lookup(user) : listed;
  };

  /** A login as this user failed: what the servers said may be outdated. */
  failed(user: string): void {
    this.#query.forget(user);
  }

  /** Undefined: in no list. */
  #listed(user: string): Secret | null | undefined {
    const { users, users_file: file } = this.#config().auth;
    const written = (Object.hasOwn(users, user) ? users[user]?.password : null) ?? this.#list.passwordOf(user, file);
    if (written === null) return undefined;
    return written === '' ? null : parseSecret(written);
  }
}
