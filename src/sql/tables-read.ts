import type { Catalog, CatalogStamp } from './catalog.ts';
import { Findings } from './findings.ts';
import { parse } from './parse.ts';
import { walkQuery } from './query-walk.ts';
import type { ReadTables } from './read-tables.ts';

/** The tables whose content a statement can depend on, by OID, as one catalog resolves its names. Frozen. */
export type TablesRead = {
  readonly oids: readonly number[];
  /** Of the catalog they were found in. */
  readonly stamp: CatalogStamp;
  /** It tells when the transaction began: `now()` and the like. */
  readonly tellsTime: boolean;
  /** It calls, casts and compares with nothing but what is the same in every PostgreSQL: a server that has the tables answers the same. */
  readonly plain: boolean;
};

/** What a statement that was walked reads, functions in SQL included. @returns null when that is not known: see `why` of its findings */
export function tablesRead(findings: Findings): TablesRead | null {
  const { catalog, tables } = findings;
  while (catalog !== null && tables.why === null) {
    const bodies = tables.takeBodies();
    if (bodies.length === 0) {
      return Object.freeze({
        oids: Object.freeze([...tables.oids]),
        stamp: catalog.stamp,
        tellsTime: tables.tellsTime,
        plain: tables.plain && !tables.mayTellRows,
      });
    }
    for (const body of bodies) readBody(body, catalog, tables);
  }
  return null;
}

function readBody(body: string, catalog: Catalog, tables: ReadTables): void {
  const parsed = parse(body);
  if (parsed.kind === 'failed')
    return tables.opaque(`calls a function whose text is not understood: ${parsed.message}`);
  const findings = new Findings(catalog, tables);
  for (const { tag, node } of parsed.statements) {
    if (tag !== 'SelectStmt') return tables.opaque('calls a function that does more than SELECT');
    walkQuery({ [tag]: node }, findings);
  }
  if (findings.notUnderstood !== null) tables.opaque(`calls a function that ${findings.notUnderstood}`);
}

/** Of several statements. */
export function joinTables(of: readonly (TablesRead | null)[]): TablesRead | null {
  const first = of[0] ?? null;
  if (first === null || of.length === 1) return first;
  const oids = new Set<number>();
  for (const one of of) {
    if (one === null || one.stamp !== first.stamp) return null;
    for (const oid of one.oids) oids.add(oid);
  }
  const tellsTime = of.some((one) => one?.tellsTime === true);
  return { oids: [...oids], stamp: first.stamp, tellsTime, plain: of.every((one) => one?.plain === true) };
}
