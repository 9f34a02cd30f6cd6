/**
 * Session settings (GUCs) that differ from the server's defaults, as an immutable interned set: two sessions with the same settings
 * hold the same object, so "does this server connection fit" is one comparison of pointers.
 */
export type SettingsSet = {
  /** Sorted by name; names in lower case, as one setting may be written in several ways (`TimeZone`). */
  readonly values: ReadonlyMap<string, string>;
  /** The part of it that Parse depends on, as text; empty when there is none. Statements parsed under different keys are different. */
  readonly parseKey: string;
};

/** Settings that decide what a text, or a literal in it, means. Others take effect when the statement runs. */
const MATTERS_TO_PARSE =
  /^(timezone|timezone_abbreviations|datestyle|intervalstyle|standard_conforming_strings|backslash_quote|array_nulls|client_encoding|default_text_search_config|lc_.*|xmloption|transform_null_equals|row_security|role|session_replication_role|search_path|extra_float_digits|bytea_output)$/;

const INTERNED = new Map<string, SettingsSet>();
const MAX_INTERNED = 10_000;

export const NO_SETTINGS: SettingsSet = Object.freeze({ values: new Map<string, string>(), parseKey: '' });

export function settingsSet(values: Iterable<readonly [string, string]>): SettingsSet {
  // of two values for one name the later counts
  const sorted = [...new Map(values)].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  if (sorted.length === 0) return NO_SETTINGS;
  const key = JSON.stringify(sorted);
  const known = INTERNED.get(key);
  if (known !== undefined) return known;
  const relevant = sorted.filter(([name]) => MATTERS_TO_PARSE.test(name));
  const parseKey = relevant.length === 0 ? '' : JSON.stringify(relevant);
  const made = Object.freeze({ values: new Map(sorted), parseKey });
  // after a clear old and new sets with the same content differ as objects: that costs one needless prelude, no more
  if (INTERNED.size >= MAX_INTERNED) INTERNED.clear();
  INTERNED.set(key, made);
  return made;
}

function literal(text: string): string {
  return text.includes('\\')
    ? ` E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
    : `'${text.replaceAll("'", "''")}'`;
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Custom settings have names of several parts. */
function settingName(name: string): string {
  return name.split('.').map(identifier).join('.');
}

/** Names that need another statement than RESET and set_config, or an order of their own. */
const ROLE = 'role';

/** The statements that turn a server connection with `from` into one with `to`: only the difference. Null when they are equal. */
export function settingsDifference(from: SettingsSet, to: SettingsSet): string | null {
  if (from === to) return null;
  const statements: string[] = [];
  // the role goes back first and is taken last: settings may need the login role's privileges
  if (from.values.has(ROLE) && from.values.get(ROLE) !== to.values.get(ROLE)) statements.push('RESET ROLE');
  for (const name of from.values.keys()) {
    if (name !== ROLE && !to.values.has(name)) statements.push(`RESET ${settingName(name)}`);
  }
  const set: string[] = [];
  for (const [name, value] of to.values) {
    if (name !== ROLE && from.values.get(name) !== value)
      set.push(`set_config(${literal(name)},${literal(value)},false)`);
  }
  if (set.length > 0) statements.push(`SELECT ${set.join(',')}`);
  const role = to.values.get(ROLE);
  if (role !== undefined && from.values.get(ROLE) !== role) statements.push(`SET ROLE ${identifier(role)}`);
  return statements.length === 0 ? null : statements.join(';');
}

/**
 * Asks the server itself which settings the session has: what SET, set_config, functions and rolled back transactions really left behind.
 * Custom settings and the role are not in pg_settings and are asked by name.
 * @param named lower-case names to ask for besides
 */
export function captureQuery(named: readonly string[]): string {
  const asked = [ROLE, ...named].map((name) => `(${literal(name)})`).join(',');
  return (
    `SELECT name,pg_catalog.current_setting(name) FROM pg_catalog.pg_settings ` +
    `WHERE source='session' AND name NOT LIKE 'transaction\\_%' UNION ALL SELECT n,pg_catalog.current_setting(n,true) FROM (VALUES ${asked}) v(n) ` +
    `WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE lower(s.name)=v.n) ` +
    `AND coalesce(pg_catalog.current_setting(n,true),'') <> CASE n WHEN 'role' THEN 'none' ELSE '' END`
  );
}

/** Settings that belong to one transaction or one server connection. */
const NOT_KEPT = /^(transaction_(isolation|read_only|deferrable)|session_authorization|seed)$/;

/** Asks for some settings by name: what `captureQuery` costs, a scan of all settings, is a hundred times more. Null: none of them is kept. */
export function namedQuery(names: readonly string[]): string | null {
  const asked = names.filter((name) => !NOT_KEPT.test(name)).map((name) => `(${literal(name)})`);
  if (asked.length === 0) return null;
  return `SELECT n,pg_catalog.current_setting(n,true) FROM (VALUES ${asked.join(',')}) v(n)`;
}

/** Takes in what `namedQuery` answered: a role that is none, and a custom setting that is empty, are not set. */
export function withNamed(settings: SettingsSet, rows: readonly (readonly (string | null)[])[]): SettingsSet {
  const values = new Map(settings.values);
  for (const [name, value] of rows as readonly (readonly [string, string | null])[]) {
    const unset = value === null || (name === ROLE && value === 'none') || (value === '' && name.includes('.'));
    if (unset) values.delete(name);
    else values.set(name, value);
  }
  return settingsSet(values);
}
