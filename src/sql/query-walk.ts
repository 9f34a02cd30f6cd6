import { constantText, type Fields, listOf, namesOf, textOf, unwrap } from './ast.ts';
import { typeName } from './catalog.ts';
import type { Findings } from './findings.ts';

/**
 * Walks the tree of a query (SELECT, VALUES, INSERT, UPDATE, DELETE, MERGE and all that is inside) and notes what it
 * reads, calls and writes. A node it does not know makes the statement not understood: new grammar is never a read.
 */

/** Nodes without meaning of their own here: their children are walked. From gram.y's expressions and FROM items. */
const PLAIN = new Set(
  `A_ArrayExpr A_Const A_Indices A_Star Alias BitString Boolean BoolExpr BooleanTest CaseExpr CaseWhen CoalesceExpr
  CollateClause ColumnDef CurrentOfExpr DefElem Float GroupingFunc GroupingSet IndexElem InferClause Integer JoinExpr
  JsonAggConstructor JsonArgument JsonArrayAgg JsonArrayConstructor JsonArrayQueryConstructor JsonBehavior JsonFormat
  JsonIsPredicate JsonKeyValue JsonObjectAgg JsonObjectConstructor JsonOutput JsonReturning JsonTable JsonTableColumn
  JsonTablePathSpec JsonValueExpr List MergeWhenClause MinMaxExpr MultiAssignRef NamedArgExpr NullTest
  OnConflictClause ParamRef RangeFunction RangeSubselect RangeTableFunc RangeTableFuncCol RangeTableSample ResTarget
  ReturningClause ReturningOption RowExpr SetToDefault SQLValueFunction String TypeName WindowDef XmlExpr
  XmlSerialize`.split(/\s+/),
);

/** Grammar of newer servers that an older one reads as a call of a user's function; JsonFuncExpr by its `op`. */
const JSON_CALLS: Readonly<Record<string, string>> = {
  JSON_EXISTS_OP: 'json_exists',
  JSON_QUERY_OP: 'json_query',
  JSON_VALUE_OP: 'json_value',
  JsonParseExpr: 'json',
  JsonScalarExpr: 'json_scalar',
  JsonSerializeExpr: 'json_serialize',
  MergeSupportFunc: 'merge_action',
};

const MAX_DEPTH = 3000;

/** Names of the WITH queries that hide relations of the same name. */
type Scope = ReadonlySet<string>;
const NO_SCOPE: Scope = new Set();

export function walkQuery(node: unknown, findings: Findings): void {
  visit(node, findings, NO_SCOPE, 0);
}

function visit(value: unknown, findings: Findings, scope: Scope, depth: number): void {
  if (value === null || typeof value !== 'object') return;
  if (depth > MAX_DEPTH) {
    findings.notUnderstood ??= 'is nested too deeply';
    return;
  }
  if (Array.isArray(value)) {
    for (const item of value) visit(item, findings, scope, depth + 1);
    return;
  }
  for (const key in value) {
    const child = (value as Fields)[key];
    if (child === null || typeof child !== 'object') continue;
    const first = key.charCodeAt(0);
    if (first >= 0x41 && first <= 0x5a) enter(key, child as Fields, findings, scope, depth + 1);
    else if (key === 'typeName') castTo(child as Fields, findings, scope, depth + 1);
    else if (key === 'operName' || key === 'useOp') operator(child, findings);
    else visit(child, findings, scope, depth + 1);
  }
}

function enter(tag: string, node: Fields, findings: Findings, scope: Scope, depth: number): void {
  switch (tag) {
    case 'SelectStmt':
      select(node, findings, scope, depth);
      return;
    case 'InsertStmt':
    case 'UpdateStmt':
    case 'DeleteStmt':
    case 'MergeStmt':
      modify(tag, node, findings, scope, depth);
      return;
    case 'RangeVar':
      relation(node, findings, scope);
      return;
    case 'FuncCall':
      call(node, findings);
      break;
    case 'ColumnRef': {
      const fields = listOf(node.fields);
      findings.tables.column(namesOf(fields).at(-1) ?? '');
      if (fields.length > 1) attribute(fields.slice(-1), findings);
      return;
    }
    case 'A_Indirection':
      attribute(node.indirection, findings);
      break;
    case 'A_Expr':
      operator(node.name, findings);
      break;
    case 'SQLValueFunction':
      if (/DATE|TIME/.test(textOf(node.op) ?? '')) findings.tables.clock();
      if (/SCHEMA/.test(textOf(node.op) ?? '')) findings.tables.plain = false;
      break;
    case 'CollateClause':
      findings.tables.plain = false;
      break;
    case 'SubLink':
    case 'SortBy':
    case 'TypeCast':
      break;
    default:
      if (tag === 'JsonFuncExpr' || JSON_CALLS[tag] !== undefined) jsonCall(tag, node, findings);
      else if (!PLAIN.has(tag)) findings.notUnderstood ??= `has a ${tag}`;
  }
  visit(node, findings, scope, depth);
}

function select(node: Fields, findings: Findings, scope: Scope, depth: number): void {
  const { withClause, intoClause, lockingClause, larg, rarg, ...rest } = node;
  const inner = withQueries(withClause as Fields | undefined, findings, scope, depth);
  if (intoClause !== undefined) into(intoClause as Fields, 'SELECT INTO creates a table', findings);
  if (lockingClause !== undefined) findings.primary('locks rows (FOR UPDATE, FOR SHARE)', true);
  if (larg !== undefined) selectBranch(larg as Fields, findings, inner, depth);
  if (rarg !== undefined) selectBranch(rarg as Fields, findings, inner, depth);
  visit(rest, findings, inner, depth);
}

function selectBranch(node: Fields, findings: Findings, scope: Scope, depth: number): void {
  if (depth > MAX_DEPTH) findings.notUnderstood ??= 'is nested too deeply';
  else select(node, findings, scope, depth + 1);
}

/** The target of SELECT INTO and CREATE TABLE AS. A table that is dropped at commit leaves nothing behind. */
export function into(clause: Fields, reason: string, findings: Findings): void {
  const target = clause.rel as Fields | undefined;
  findings.primary(reason, true);
  const temporary = target?.relpersistence === 't' || isTemporarySchema(target?.schemaname);
  if (target?.relpersistence === 'u') findings.altersSchema = [textOf(target.relname) ?? ''];
  if (temporary && clause.onCommit !== 'ONCOMMIT_DROP') findings.pin('temporary table');
}

export function isTemporarySchema(schema: unknown): boolean {
  return typeof schema === 'string' && /^pg_temp(_\d+)?$/.test(schema);
}

/** Walks the WITH queries and returns the scope they make. Without RECURSIVE a query sees only those before it. */
function withQueries(clause: Fields | undefined, findings: Findings, scope: Scope, depth: number): Scope {
  if (clause === undefined) return scope;
  const names = new Set(scope);
  const queries = listOf(clause.ctes).map((item) => unwrap(item)?.node ?? {});
  if (clause.recursive === true) for (const query of queries) names.add(textOf(query.ctename) ?? '');
  for (const query of queries) {
    visit(query, findings, new Set(names), depth + 1);
    names.add(textOf(query.ctename) ?? '');
  }
  return names;
}

const VERBS: Readonly<Record<string, string>> = {
  InsertStmt: 'inserts',
  UpdateStmt: 'updates',
  DeleteStmt: 'deletes',
  MergeStmt: 'merges',
};

function modify(tag: string, node: Fields, findings: Findings, scope: Scope, depth: number): void {
  const { withClause, relation: target, ...rest } = node;
  findings.primary(VERBS[tag] as string, true);
  if (tag === 'InsertStmt' || tag === 'MergeStmt') findings.mayAdvanceSequence = true;
  const inner = withQueries(withClause as Fields | undefined, findings, scope, depth);
  if (target !== undefined) relation(target as Fields, findings, NO_SCOPE);
  visit(rest, findings, inner, depth);
}

function relation(node: Fields, findings: Findings, scope: Scope): void {
  const schema = textOf(node.schemaname);
  const name = textOf(node.relname) ?? '';
  if (schema === null && scope.has(name)) return;
  findings.tables.called(textOf((node.alias as Fields | undefined)?.aliasname) ?? name);
  findings.relation(schema, name);
}

function call(node: Fields, findings: Findings): void {
  const names = namesOf(node.funcname);
  const name = names.at(-1) ?? '';
  const args = listOf(node.args);
  const { changesSettings, settingsByName } = findings;
  findings.call(names.at(-2) ?? null, name, args.length, node.func_variadic === true ? [] : args.map(typeOf));
  if (name !== 'set_config') return;
  const setting = constantText(args[0]);
  const userFunction = findings.catalog?.hasUserFunction(name) === true;
  if (setting !== null) findings.setting(setting);
  if (setting !== null && !userFunction) findings.settingsByName = settingsByName;
  // is_local: gone with the transaction.
  const local = unwrap(args[2]);
  const constant = local?.tag === 'A_Const' && local.node.boolval !== undefined && constantText(args[2]) === 'true';
  if (!constant || userFunction) return;
  findings.local(setting);
  findings.changesSettings = changesSettings;
  findings.settingsByName = settingsByName;
}

function jsonCall(tag: string, node: Fields, findings: Findings): void {
  const name = JSON_CALLS[textOf(node.op) ?? tag];
  if (name === undefined || findings.catalog?.hasUserFunction(name) !== false) {
    findings.primary(`may call a function ${name ?? tag}`, true);
  }
}

/** The type of an argument, where the text leaves no doubt. */
function typeOf(value: unknown): string | null {
  const node = unwrap(value);
  if (node?.tag === 'A_Const') return node.node.ival !== undefined ? 'integer' : null;
  if (node?.tag !== 'TypeCast') return null;
  const type = node.node.typeName as Fields | undefined;
  const names = namesOf(type?.names);
  if (names.length > 1 && names[0] !== 'pg_catalog') return null;
  const name = typeName(names.at(-1) ?? '');
  return type?.arrayBounds === undefined ? name : `${name}[]`;
}

/** `t.name` is a column, or else a call of name(t). */
function attribute(fields: unknown, findings: Findings): void {
  if (findings.catalog === null) return;
  for (const name of namesOf(fields)) {
    findings.tables.attribute(name);
    const reason = findings.catalog.attribute(name);
    if (reason !== null) findings.primary(reason, true);
  }
}

function operator(names: unknown, findings: Findings): void {
  const qualified = namesOf(names);
  const name = qualified.at(-1);
  if (name !== undefined) findings.tables.operator(name, qualified.at(-2) ?? null);
  const reason = name === undefined ? null : (findings.catalog?.operator(name) ?? null);
  if (reason !== null) findings.primary(reason, true);
}

function castTo(type: Fields, findings: Findings, scope: Scope, depth: number): void {
  const names = namesOf(type.names);
  const name = names.at(-1);
  if (name !== undefined) findings.tables.cast(name, names.at(-2) ?? null);
  const reason = name === undefined ? null : (findings.catalog?.cast(name) ?? null);
  if (reason !== null) findings.primary(reason, true);
  visit(type, findings, scope, depth);
}
