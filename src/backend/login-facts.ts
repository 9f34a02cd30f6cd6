import { nowMs } from '../core/clock.ts';
import type { AnyNode } from './any-node.ts';

/** What a login depends on besides the proof of who somebody is. Object ids as text; null: there is none of that name. */
export type LoginFacts = {
  readonly database: string | null;
  readonly role: string | null;
  /** The role may log in now, and may connect to the database. False says only that the server has to decide. */
  readonly allowed: boolean;
};

const FACTS_SQL = `SELECT d.oid::text AS database, r.oid::text AS role,
  coalesce(d.datallowconn AND r.rolcanlogin AND (r.rolvaliduntil IS NULL OR r.rolvaliduntil > now())
    AND has_database_privilege(r.oid, d.oid, 'CONNECT'), false) AS allowed
FROM (SELECT) one LEFT JOIN pg_catalog.pg_database d ON d.datname = $1 LEFT JOIN pg_catalog.pg_roles r ON r.rolname = $2`;

/** How long an answer holds: logins come in crowds. */
const FRESH_MS = 1000;
const MAX_KNOWN = 10_000;

type Known = { facts: LoginFacts; atMs: number };

/**
 * Whether database and role of a login are still those of before. A login that needs no server connection would otherwise let in a role that
 * was dropped, or lead to a database that is gone.
 */
export class LoginFactsReader {
  readonly #node: AnyNode;
  /** A role of this name is another one than before. */
  readonly #roleReplaced: (role: string) => void;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<LoginFacts | null>>();
  readonly #roles = new Map<string, string | null>();

  constructor(node: AnyNode, roleReplaced: (role: string) => void) {
    this.#node = node;
    this.#roleReplaced = roleReplaced;
  }

  /** Names as servers have them. Null while no server can be asked: what was true before may be believed. */
  async of(database: string, role: string): Promise<LoginFacts | null> {
    const id = `${database}\0${role}`;
    const known = this.#known.get(id);
    if (known !== undefined && nowMs() - known.atMs < FRESH_MS) return known.facts;
    return this.#asking.get(id) ?? this.#start(id, database, role);
  }

  #start(id: string, database: string, role: string): Promise<LoginFacts | null> {
    const atMs = nowMs();
    const asking = this.#node
      .query<LoginFacts>(FACTS_SQL, [database, role])
      .then(([facts]) => {
        if (facts === undefined) return null;
        if (this.#known.size >= MAX_KNOWN) this.#known.clear();
        this.#known.set(id, { facts, atMs });
        this.#follow(role, facts.role);
        return facts;
      })
      .catch(() => null)
      .finally(() => this.#asking.delete(id));
    this.#asking.set(id, asking);
    return asking;
  }

  #follow(role: string, oid: string | null): void {
    const before = this.#roles.get(role);
    if (this.#roles.size >= MAX_KNOWN) this.#roles.clear();
    this.#roles.set(role, oid);
    if (before !== undefined && before !== oid) this.#roleReplaced(role);
  }
}
