import { type Fields, listOf, namesOf, type RawStatement, textOf, unwrap } from './ast.ts';
import { bodySettings } from './builtins.ts';
import { bodyFinding, type Catalog } from './catalog.ts';
import { databasesNeeded } from './database-statements.ts';
import { type Draft, draft, join } from './draft.ts';
import { Findings } from './findings.ts';
import { into, isTemporarySchema, walkQuery } from './query-walk.ts';
import { customSettings, schemaChange } from './schema-change.ts';
import { discardStatement, setStatement, showStatement, transactionStatement } from './session-statements.ts';
import { backendSignal, isRoleCheck } from './single-call.ts';
import { UTILITY } from './utility-statements.ts';
import type { Hint, StatementClass, Verdict } from './verdict.ts';

/** Parse tree → verdict. What is not positively known as a read is not one. */

export const EMPTY_REASON = 'empty';

export function analyse(statements: readonly RawStatement[], catalog: Catalog | null, hint: Hint | null): Verdict {
  if (statements.length === 0) {
    const part = join([draft(new Findings(catalog), 'read', EMPTY_REASON)]);
    return freeze({ ...part, statements: 0, hint });
  }
  const part = join(statements.map((statement) => analyseStatement(statement, new Findings(catalog))));
  return freeze({ ...part, statements: statements.length, hint });
}

/** The verdict on a text that nobody has understood. */
export function notUnderstood(
  reason: string,
  statementClass: StatementClass,
  hint: Hint | null,
  changesSettings: boolean,
): Verdict {
  const findings = new Findings(null);
  findings.mayWrite = true;
  findings.mayAdvanceSequence = true;
  findings.changesSettings = changesSettings;
  findings.settingsByName = false;
  return freeze({ ...join([draft(findings, statementClass, reason)]), statements: 1, hint });
}

export function freeze(verdict: Verdict): Verdict {
  Object.freeze(verdict.settings);
  Object.freeze(verdict.relations);
  Object.freeze(verdict.functions);
  Object.freeze(verdict.releases);
  Object.freeze(verdict.listenSteps);
  return Object.freeze(verdict);
}

function analyseStatement({ tag, node }: RawStatement, findings: Findings): Draft {
  switch (tag) {
    case 'SelectStmt':
      walkQuery({ [tag]: node }, findings);
      // what is only compared with tells the client nothing it could rely on
      if (findings.pins.includes('pg_backend_pid') && !mentions({ ...node, whereClause: null }, 'pg_backend_pid'))
        findings.unpin('pg_backend_pid');
      // drivers ask so for a server that takes writes (target_session_attrs); who wants more than that means the server that answers
      if (isRoleCheck(node)) findings.primary('asks whether it may write', false);
      findings.signal = backendSignal(node);
      return query(findings, 'reads');
    case 'InsertStmt':
    case 'UpdateStmt':
    case 'DeleteStmt':
    case 'MergeStmt':
      walkQuery({ [tag]: node }, findings);
      return query(findings, 'writes');
    case 'ExplainStmt':
      return explain(node, findings);
    case 'TransactionStmt':
      return transactionStatement(node, findings);
    case 'VariableSetStmt':
      return setStatement(node, findings);
    case 'VariableShowStmt':
      return showStatement(node, findings);
    case 'DiscardStmt':
      return discardStatement(node, findings);
    case 'CopyStmt':
      return copy(node, findings);
    case 'CallStmt':
      walkQuery({ FuncCall: node.funccall }, findings);
      return write(findings, 'calls a procedure');
    case 'DoStmt':
      return doBlock(node, findings);
    case 'PrepareStmt':
      findings.statementUses.push({ kind: 'prepare', name: textOf(node.name) ?? '' });
      return prepare(node, findings);
    case 'ExecuteStmt':
      walkQuery(node.params, findings);
      findings.ofSession = true;
      findings.statementUses.push({ kind: 'execute', name: textOf(node.name) ?? '' });
      return write(findings, 'executes a prepared statement');
    case 'DeallocateStmt': {
      const all = node.isall === true;
      findings.mayUnpin = true;
      if (all) findings.releases.push('sql prepare');
      findings.statementUses.push({ kind: 'deallocate', name: all ? null : (textOf(node.name) ?? null) });
      return draft(findings, 'session-state', 'deallocates prepared statements');
    }
    case 'DeclareCursorStmt': {
      walkQuery(node.query, findings);
      // CURSOR_OPT_HOLD in parsenodes.h
      if ((Number(node.options ?? 0) & 0x20) !== 0) findings.pin('cursor with hold');
      const d = query(findings, 'declares a cursor');
      if (d.class === 'read') d.class = 'session-state';
      return d;
    }
    case 'FetchStmt':
      findings.ofSession = true;
      return write(findings, 'fetches from a cursor');
    case 'ClosePortalStmt':
      findings.mayUnpin = true;
      if (node.portalname === undefined) findings.releases.push('cursor with hold');
      return draft(findings, 'session-state', 'closes a cursor');
    case 'ListenStmt':
      findings.pin('listen');
      findings.listenSteps.push({ kind: 'listen', name: textOf(node.conditionname) ?? '' });
      return draft(findings, 'session-state', 'listens');
    case 'UnlistenStmt':
      findings.mayUnpin = true;
      if (node.conditionname === undefined) findings.releases.push('listen');
      findings.listenSteps.push({ kind: 'unlisten', name: textOf(node.conditionname) });
      return draft(findings, 'session-state', 'stops listening');
    case 'LoadStmt':
      findings.pin('load');
      return draft(findings, 'session-state', 'loads a library');
    case 'ConstraintsSetStmt':
      return draft(findings, 'session-state', 'sets constraints for the transaction');
    case 'LockStmt':
      for (const item of listOf(node.relations)) walkQuery(item, findings);
      return draft(findings, 'write', 'locks tables');
    case 'CreateTableAsStmt':
      executed(unwrap(node.query), findings);
      walkQuery(node.query, findings);
      into((node.into ?? {}) as Fields, 'creates a table', findings);
      return write(findings, 'creates a table');
    default: {
      const phrase = UTILITY.get(tag);
      if (phrase !== undefined) return utility(tag, node, phrase, findings);
      findings.mayWrite = true;
      return draft(findings, 'unknown', `not understood: ${tag}`);
    }
  }
}

/** CREATE TABLE … AS EXECUTE */
function executed(statement: RawStatement | null, findings: Findings): void {
  if (statement?.tag !== 'ExecuteStmt') return;
  findings.ofSession = true;
  findings.statementUses.push({ kind: 'execute', name: textOf(statement.node.name) ?? '' });
}

function query(findings: Findings, reads: string): Draft {
  if (findings.notUnderstood !== null) {
    findings.mayWrite = true;
    return draft(findings, 'unknown', `not understood: ${findings.notUnderstood}`);
  }
  if (findings.needsPrimary !== null) return draft(findings, 'write', findings.needsPrimary);
  return draft(findings, 'read', reads);
}

function write(findings: Findings, reason: string): Draft {
  findings.mayWrite = true;
  findings.mayAdvanceSequence = true;
  return draft(findings, 'write', reason);
}

/** EXPLAIN goes where its statement goes; without ANALYZE it runs nothing, but plans alike. */
function explain(node: Fields, findings: Findings): Draft {
  const inner = unwrap(node.query);
  if (inner === null) return write(findings, 'explains');
  const d = analyseStatement(inner, findings);
  findings.tables.opaque('shows a plan');
  const options = listOf(node.options).map((item) => textOf(unwrap(item)?.node.defname));
  if (d.class !== 'read' && d.class !== 'unknown') {
    d.class = 'write';
    d.reason = `explains a statement that ${d.reason}`;
  } else if (d.class === 'read') d.reason = 'explains a read';
  d.command = null;
  if (!options.includes('analyze')) findings.mayWrite = false;
  return d;
}

/** What it prepares does its work whenever it is executed. */
function prepare(node: Fields, findings: Findings): Draft {
  const inner = new Findings(findings.catalog);
  walkQuery(node.query, inner);
  findings.pin('sql prepare');
  // what others drew there must not be told by EXECUTE
  if (inner.pins.includes('sequence state')) findings.pin('sequence state');
  const d = draft(findings, 'session-state', 'prepares a statement');
  const { pins, changesSettings } = inner;
  if (pins.length > 0 || changesSettings) d.prepares = { pins, changesSettings };
  return d;
}

/** COPY through the client is `copy`; from or to a file or program of the server it is a write like any other. */
function copy(node: Fields, findings: Findings): Draft {
  if (node.query !== undefined) walkQuery(node.query, findings);
  if (node.relation !== undefined) walkQuery({ RangeVar: node.relation }, findings);
  const from = node.is_from === true;
  if (from) {
    findings.mayWrite = true;
    findings.mayAdvanceSequence = true;
  }
  if (textOf(node.filename) !== null) return draft(findings, 'write', "copies from or to the server's files");
  return draft(findings, 'copy', from ? 'copies from the client' : 'copies to the client');
}

function doBlock(node: Fields, findings: Findings): Draft {
  for (const item of listOf(node.args)) {
    const body = textOf(unwrap(unwrap(item)?.node.arg)?.node.sval);
    if (body === null) continue;
    const found = bodyFinding(body);
    for (const pin of found.pins) findings.pin(pin);
    if (found.changesSettings) {
      findings.changesSettings = true;
      findings.settingsByName = false;
      for (const name of bodySettings(body)) findings.setting(name);
    }
  }
  return write(findings, 'runs a code block');
}

function utility(tag: string, node: Fields, phrase: string, findings: Findings): Draft {
  if (tag === 'DropStmt') findings.mayUnpin = true;
  const creates = tag !== 'DropStmt' && mentionsTemporary(node, 0);
  if (creates && node.oncommit !== 'ONCOMMIT_DROP') findings.pin('temporary table');
  if (!findings.pins.includes('temporary table')) findings.altersSchema = schemaChange(tag, node);
  for (const name of customSettings(tag, node)) findings.setting(name);
  const d = write(findings, phrase);
  d.vacates = databasesNeeded(tag, node);
  return d;
}

function mentions(value: unknown, name: string): boolean {
  return JSON.stringify(value).includes(`"${name}"`);
}

/** Something is made in the session's temporary schema: TEMP, or a name in pg_temp. */
function mentionsTemporary(value: unknown, depth: number): boolean {
  if (value === null || typeof value !== 'object' || depth > 50) return false;
  if (Array.isArray(value)) {
    return isTemporarySchema(namesOf(value)[0]) || value.some((item) => mentionsTemporary(item, depth + 1));
  }
  const fields = value as Fields;
  if (fields.relpersistence === 't' || isTemporarySchema(fields.schemaname)) return true;
  for (const key in fields) if (mentionsTemporary(fields[key], depth + 1)) return true;
  return false;
}
