import type { AnyNode } from './any-node.ts';

/** What a login depends on besides the proof of who somebody is. Object ids as text; null: there is none of that name. */
export type LoginFacts = {
  readonly database: string | null;
  readonly role: string | null;
  /** The role may log in now, and may connect to the database. False says only that the server has to decide. */
  readonly allowed: boolean;
  /** What parameters of a new session depend on: whether the role is a superuser, and the settings of database and role. */
  readonly defaults: string;
};

/** What is done about a role that is not what it was. Names as servers have them. */
export type RoleHolders = {
  /** It was dropped, or is another one of the same name (`replaced`). */
  gone(role: string, replaced: boolean): void;
};

const FACTS_SQL = `SELECT d.oid::text AS database, r.oid::text AS role,
  coalesce(d.datallowconn AND r.rolcanlogin AND (r.rolvaliduntil IS NULL OR r.rolvaliduntil > now())
    AND has_database_privilege(r.oid, d.oid, 'CONNECT'), false) AS allowed,
  concat(r.rolsuper, ' ', (SELECT string_agg(concat(s.setdatabase, ' ', s.setrole, ' ', s.setconfig), ' ' ORDER BY s.setdatabase, s.setrole)
    FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase IN (0, d.oid) AND s.setrole IN (0, r.oid))) AS defaults
FROM (SELECT) one LEFT JOIN pg_catalog.pg_database d ON d.datname = $1 LEFT JOIN pg_catalog.pg_roles r ON r.rolname = $2`;

const MAX_KNOWN = 10_000;

/** What is asked now, and what is asked behind it. */
type Asking = { readonly now: Promise<LoginFacts | null>; next: Promise<LoginFacts | null> | null };

/**
 * Whether database and role of a login are still those of before. A login that needs no server connection would otherwise let in a role that
 * was dropped, or lead to a database that is gone.
 */
export class LoginFactsReader {
  readonly #node: AnyNode;
  readonly #holders: RoleHolders;
  readonly #asking = new Map<string, Asking>();
  /** Object ids of roles as they were last there. */
  readonly #roles = new Map<string, { readonly oid: string; readonly gone: boolean }>();

  constructor(node: AnyNode, holders: RoleHolders) {
    this.#node = node;
    this.#holders = holders;
  }

  /**
   * Names as servers have them. Null while no server can be asked: what was true before may be believed. A crowd of logins shares
   * questions, but none that was asked before the login came.
   */
  of(database: string, role: string): Promise<LoginFacts | null> {
    const id = `${database}\0${role}`;
    const asking = this.#asking.get(id);
    if (asking === undefined) return this.#start(id, database, role);
    asking.next ??= asking.now.then(() => this.#start(id, database, role));
    return asking.next;
  }

  #start(id: string, database: string, role: string): Promise<LoginFacts | null> {
    const now = this.#ask(database, role);
    const asking: Asking = { now, next: null };
    this.#asking.set(id, asking);
    void now.then(() => {
      if (asking.next === null) this.#asking.delete(id);
    });
    return now;
  }

  async #ask(database: string, role: string): Promise<LoginFacts | null> {
    try {
      const [facts] = await this.#node.query<LoginFacts>(FACTS_SQL, [database, role]);
      if (facts !== undefined) this.#follow(role, facts.role);
      return facts ?? null;
    } catch {
      return null;
    }
  }

  #follow(role: string, oid: string | null): void {
    const before = this.#roles.get(role);
    if (before === undefined && oid === null) return;
    if (this.#roles.size >= MAX_KNOWN) this.#roles.clear();
    this.#roles.set(role, { oid: oid ?? (before?.oid as string), gone: oid === null });
    if (before === undefined || before.oid === oid) return;
    if (oid !== null || !before.gone) this.#holders.gone(role, oid !== null);
  }
}
