import type { Config } from '../config/config.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { parseSecret, type Secret } from '../wire/secret.ts';
import type { AnyNode } from './any-node.ts';
import { ControlError } from './control-connection.ts';

/** How long an answer holds. A failed login forgets the user's, so that a new password works at the next attempt. */
const FOUND_MS = 5000;
const MISSING_MS = 1000;
/** A user whose logins fail is asked for no oftener. */
const FORGET_MS = 250;
/** After "permission denied": somebody may have granted it meanwhile. */
const DENIED_MS = 10_000;
/** Names come from clients: what is remembered is bounded. */
const MAX_KNOWN = 10_000;

/** Users that may log in with a password now. The view is what some grant instead of the table. */
const CATALOG_QUERIES = [
  `SELECT rolpassword FROM pg_catalog.pg_authid
    WHERE rolname = $1 AND rolcanlogin AND (rolvaliduntil IS NULL OR rolvaliduntil > now())`,
  `SELECT passwd FROM pg_catalog.pg_shadow WHERE usename = $1 AND (valuntil IS NULL OR valuntil > now())`,
] as const;

type Known = { readonly secret: Secret | null; readonly atMs: number };

/** What the servers know of users' passwords: PgBouncer's `auth_query`. */
export class AuthQuery {
  readonly #node: AnyNode;
  readonly #config: () => Config;
  readonly #log: Log;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<Secret | null>>();
  #query = '';
  #deniedUntilMs = 0;

  constructor(node: AnyNode, config: () => Config, log: Log) {
    this.#node = node;
    this.#config = config;
    this.#log = log;
  }

  /**
   * Null: no such user, none that may log in with a password now, or not to be found out because the control user may not.
   * @throws FairleadError `lookup_failed` when no server answers, or the configured query fails
   */
  async lookup(user: string): Promise<Secret | null> {
    const { query } = this.#config().auth;
    if (query !== this.#query) this.#begin(query);
    const now = nowMs();
    if (query === 'off' || now < this.#deniedUntilMs) return null;
    const known = this.#known.get(user);
    if (known !== undefined && now - known.atMs < (known.secret === null ? MISSING_MS : FOUND_MS)) return known.secret;
    const asking = this.#asking.get(user) ?? this.#start(user, query);
    return asking;
  }

  /** A login failed with what was found: it may be outdated. */
  forget(user: string): void {
    const known = this.#known.get(user);
    if (known !== undefined && known.secret !== null && nowMs() - known.atMs > FORGET_MS) this.#known.delete(user);
  }

  #begin(query: string): void {
    this.#query = query;
    this.#deniedUntilMs = 0;
    this.#known.clear();
  }

  #start(user: string, query: string): Promise<Secret | null> {
    const atMs = nowMs();
    const asking = this.#ask(user, query)
      .then((secret) => {
        if (this.#known.size >= MAX_KNOWN) this.#known.clear();
        if (this.#query === query) this.#known.set(user, { secret, atMs });
        return secret;
      })
      .finally(() => this.#asking.delete(user));
    this.#asking.set(user, asking);
    return asking;
  }

  async #ask(user: string, query: string): Promise<Secret | null> {
    const texts = query === 'auto' ? CATALOG_QUERIES : [query];
    for (const text of texts) {
      try {
        return secretIn(await this.#node.query<Record<string, unknown>>(text, [user]), user);
      } catch (error) {
        if (!(error instanceof ControlError)) throw error;
        if (query === 'auto' && error.sqlState === '42501') continue;
        const why = messageOf(error);
        this.#log.warn({ node: error.node, error: why }, 'auth.query fails');
        throw new FairleadError('lookup_failed', `auth.query fails: ${why}`);
      }
    }
    this.#deniedUntilMs = nowMs() + DENIED_MS;
    this.#log.info(
      {},
      'the control user may not read passwords: only users of auth.users and auth.users_file can log in',
    );
    return null;
  }
}

/** The last column is the secret; with two columns, as PgBouncer has them, the first is the name. */
function secretIn(rows: readonly Record<string, unknown>[], user: string): Secret | null {
  const columns = Object.values(rows[0] ?? {});
  const secret = columns.at(-1);
  if (columns.length > 1 && columns[0] !== user) return null;
  return typeof secret === 'string' && secret !== '' ? parseSecret(secret) : null;
}
