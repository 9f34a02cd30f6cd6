import type pg from 'pg';
import type { TableName } from '../../replication/row-change.ts';

/** A column that belongs to a key, and how its index compares it. */
export type KeyColumn = { readonly name: string; readonly operator: string };

/** A foreign key: `columns` of `table` name a row of `parent` by its `parentColumns`. */
export type Reference = {
  readonly name: string;
  readonly table: string;
  readonly columns: readonly string[];
  readonly parent: string;
  readonly parentColumns: readonly string[];
  /** Compare a column of the parent, and one of the table itself, with a value. */
  readonly parentOperators: readonly string[];
  readonly operators: readonly string[];
};

/** A table as it is now on the primary, as far as replaying rows is concerned. */
export type TableShape = {
  /** Qualified and quoted. */
  readonly name: string;
  /** `pg_class.relkind` and `relreplident` */
  readonly kind: string;
  readonly identity: 'd' | 'i' | 'f' | 'n';
  /** Stored ones that can be written, in order. */
  readonly columns: readonly {
    readonly name: string;
    readonly sequence: string | null;
    readonly operator: string | null;
  }[];
  /** All there are, those that are generated included. */
  readonly known: ReadonlySet<string>;
  /** What REPLICA IDENTITY names; empty where that is no index. */
  readonly key: readonly KeyColumn[];
  readonly primary: readonly KeyColumn[];
  /** Somebody's triggers, which fire for what an ordinary session does. */
  readonly triggers: boolean;
  /** It has a unique or exclusion constraint that is checked by a trigger of PostgreSQL's own, at the end of a statement or transaction. */
  readonly deferrable: boolean;
  /** Rows of other tables change when a row of this one is deleted or gets another key. */
  readonly cascades: boolean;
  /** Foreign keys of this table, and those that point to it. */
  readonly refers: readonly Reference[];
  readonly referred: readonly Reference[];
};

/** Columns of an index; nothing where one of them is not compared by an equality of a B-tree. */
const keyOf = (which: string) => `(
  SELECT json_agg(json_build_object('name', a.attname, 'operator', format('OPERATOR(%I.%s)', s.nspname, o.oprname)) ORDER BY k.n)
  FROM pg_index i
  CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY k (attnum, opclass, n)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  JOIN pg_opclass oc ON oc.oid = k.opclass
  JOIN pg_amop m ON m.amopfamily = oc.opcfamily AND m.amopmethod = 403 AND m.amopstrategy = 3
    AND m.amoplefttype = oc.opcintype AND m.amoprighttype = oc.opcintype
  JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace s ON s.oid = o.oprnamespace
  WHERE i.indrelid = c.oid AND k.n <= i.indnkeyatts AND ${which}
  HAVING count(*) = max(i.indnkeyatts))`;

const operatorsOf = (array: string) => `(
  SELECT json_agg(format('OPERATOR(%I.%s)', s.nspname, o.oprname) ORDER BY u.n) FROM unnest(${array}) WITH ORDINALITY u (op, n)
  JOIN pg_operator o ON o.oid = u.op JOIN pg_namespace s ON s.oid = o.oprnamespace)`;

const namesOf = (relation: string, array: string) => `(
  SELECT json_agg(a.attname ORDER BY u.n) FROM unnest(${array}) WITH ORDINALITY u (attnum, n)
  JOIN pg_attribute a ON a.attrelid = ${relation} AND a.attnum = u.attnum)`;

/** Of a partitioned table, those that stand for its partitions are left out; those not enforced, and of periods, are not ours to check. */
const referencesWhere = (which: string) => `(
  SELECT json_agg(json_build_object('name', f.conname, 'table', f.conrelid::regclass::text, 'parent', f.confrelid::regclass::text,
    'columns', ${namesOf('f.conrelid', 'f.conkey')}, 'parentColumns', ${namesOf('f.confrelid', 'f.confkey')},
    'parentOperators', ${operatorsOf('f.conpfeqop')}, 'operators', ${operatorsOf('f.conffeqop')}))
  FROM pg_constraint f WHERE f.contype = 'f' AND ${which}
    AND to_jsonb(f)->>'conenforced' IS DISTINCT FROM 'false' AND to_jsonb(f)->>'conperiod' IS DISTINCT FROM 'true')`;

/** The table and what it is a partition of. */
const LINE = `(SELECT c.oid UNION SELECT relid FROM pg_partition_ancestors(c.oid))`;

const SHAPE_SQL = `SELECT json_build_object(
  'name', format('%I.%I', n.nspname, c.relname), 'kind', c.relkind, 'identity', c.relreplident,
  'columns', (SELECT json_agg(json_build_object('name', a.attname, 'generated', a.attgenerated <> '',
      'sequence', (SELECT min(pg_get_serial_sequence(l.oid::regclass::text, a.attname)) FROM ${LINE} o (oid)
        JOIN pg_class l USING (oid) WHERE has_schema_privilege(l.relnamespace, 'USAGE')),
      'operator', (SELECT format('OPERATOR(%I.%s)', s.nspname, o.oprname) FROM pg_opclass oc
        JOIN pg_amop m ON m.amopfamily = oc.opcfamily AND m.amopstrategy = 3
          AND m.amoplefttype = oc.opcintype AND m.amoprighttype = oc.opcintype
        JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace s ON s.oid = o.oprnamespace
        WHERE oc.opcmethod = 403 AND oc.opcdefault
          AND oc.opcintype = CASE t.oid WHEN 'varchar'::regtype THEN 'text'::regtype ELSE t.oid END))
    ORDER BY a.attnum) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'key', ${keyOf(`((c.relreplident = 'd' AND i.indisprimary) OR (c.relreplident = 'i' AND i.indisreplident))`)},
  'primary', ${keyOf('i.indisprimary')},
  'triggers', EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')),
  'deferrable', EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND NOT i.indimmediate),
  'cascades', EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid IN ${LINE}
    AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))),
  'refers', ${referencesWhere(`f.conrelid = c.oid
    AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = f.conparentid AND p.conrelid = f.conrelid)`)},
  'referred', ${referencesWhere(`f.conparentid = 0 AND f.confrelid IN ${LINE}`)})::text AS shape
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`;

type Column = TableShape['columns'][number] & { readonly generated: boolean };
type Raw = {
  readonly [Key in keyof TableShape]: Key extends 'columns' ? readonly Column[] | null : TableShape[Key] | null;
};

/** Looks tables up, each once. @param client its session has search_path pg_catalog only */
export class TableShapes {
  readonly #client: pg.Client;
  readonly #known = new Map<string, TableShape | null>();

  constructor(client: pg.Client) {
    this.#client = client;
  }

  /** One that was looked up before. */
  known({ schema, table }: TableName): TableShape | null {
    return this.#known.get(JSON.stringify([schema, table])) ?? null;
  }

  /** Null where there is no such table. */
  async of({ schema, table }: TableName): Promise<TableShape | null> {
    const key = JSON.stringify([schema, table]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const { rows } = await this.#client.query<{ shape: string }>(SHAPE_SQL, [schema, table]);
    const shape = rows[0] === undefined ? null : shapeOf(JSON.parse(rows[0].shape) as Raw);
    this.#known.set(key, shape);
    return shape;
  }
}

function shapeOf(raw: Raw): TableShape {
  const columns = raw.columns ?? [];
  return {
    ...(raw as TableShape),
    columns: columns.filter(({ generated }) => !generated),
    known: new Set(columns.map(({ name }) => name)),
    key: raw.key ?? [],
    primary: raw.primary ?? [],
    refers: raw.refers ?? [],
    referred: raw.referred ?? [],
  };
}
