/** What is the same in every PostgreSQL database, whatever its users have made: of the names in a statement that a logical subscriber may answer. */

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/** Built in, and yet they tell of the server, of its catalogs, or of what is configured there. */
const OF_THE_SERVER = words(`
  current_setting current_schema current_schemas version inet_client_addr inet_client_port inet_server_addr inet_server_port pg_column_size
  pg_input_is_valid pg_typeof enum_first enum_last enum_range get_current_ts_config to_tsvector to_tsquery plainto_tsquery phraseto_tsquery
  websearch_to_tsquery ts_headline json_to_tsvector jsonb_to_tsvector ts_match_tq ts_match_tt json_populate_record json_populate_recordset
  jsonb_populate_record jsonb_populate_record_valid jsonb_populate_recordset`);

const OPERATORS: ReadonlySet<string> = new Set([
  ...words(`
  = <> != < <= > >= + - * / % ^ || ~~ !~~ ~~* !~~* ~ ~* !~ !~* -> ->> #> #>> @> <@ ? ?| ?& && & | # << >>`),
  ...['BETWEEN', 'NOT BETWEEN', 'BETWEEN SYMMETRIC', 'NOT BETWEEN SYMMETRIC'],
]);

const TYPES = words(`
  bool int2 int4 int8 numeric float4 float8 text varchar bpchar char name bytea date time timetz timestamp timestamptz interval uuid json jsonb
  inet cidr macaddr bit varbit oid`);

const isBuiltIn = (schema: string | null): boolean => schema === null || schema === 'pg_catalog';

export function isPlainCall(schema: string | null, name: string): boolean {
  return isBuiltIn(schema) && !OF_THE_SERVER.has(name);
}

export function isPlainOperator(schema: string | null, name: string): boolean {
  return isBuiltIn(schema) && OPERATORS.has(name);
}

export function isPlainType(schema: string | null, name: string): boolean {
  return isBuiltIn(schema) && TYPES.has(name);
}
