import { constantText, type Fields, listOf, textOf, unwrap } from './ast.ts';
import { SHOW_ANYWHERE } from './builtins.ts';
import { type Draft, draft } from './draft.ts';
import type { Findings } from './findings.ts';
import { isTemporarySchema } from './query-walk.ts';

/** Statements about the session and its transactions: SET, RESET, SHOW, DISCARD, BEGIN and their kin. */

/** Settings of the running transaction: gone with it, whatever SET says. */
const TRANSACTION_SETTINGS = new Set(['transaction_isolation', 'transaction_read_only', 'transaction_deferrable']);

const COMMANDS = 'fairlead.';

export function setStatement(node: Fields, findings: Findings): Draft {
  const kind = textOf(node.kind) ?? '';
  const name = (textOf(node.name) ?? '').toLowerCase();
  const local = node.is_local === true;
  const values = listOf(node.args).map(constantText);
  const d = draft(findings, 'session-state', `sets ${name}`);
  if (kind === 'VAR_RESET_ALL') {
    d.reason = 'resets all settings';
    d.resets = 'all';
    findings.changesSettings = true;
    return d;
  }
  if (kind === 'VAR_SET_MULTI') return setTransaction(name, node, d);
  const reset = kind === 'VAR_RESET' || kind === 'VAR_SET_DEFAULT';
  if (reset) d.reason = `resets ${name}`;
  if (name.startsWith(COMMANDS) && kind !== 'VAR_SET_CURRENT') {
    const value = reset ? null : values.map((v) => v ?? '').join(', ');
    d.command = { kind: 'set', name: name.slice(COMMANDS.length), value, local };
    findings.setting(name);
    return d;
  }
  findings.setting(name);
  if (reset && !local) d.resets = [name];
  if (TRANSACTION_SETTINGS.has(name)) {
    d.transactionControl = true;
  } else if (local) findings.local(name);
  else findings.changesSettings = true;
  if (name === 'default_transaction_read_only' || name === 'transaction_read_only') d.readOnly = saysYes(values[0]);
  if (name === 'default_transaction_isolation' || name === 'transaction_isolation') {
    d.isolation = values[0]?.toLowerCase() ?? null;
  }
  if (name === 'session_authorization') {
    findings.setting('role');
    if (reset) findings.releases.push('session authorization');
    else if (!local) findings.pin('session authorization');
  }
  if (!local && !reset && name === 'seed') findings.pin('server state');
  // Tables created without a schema are temporary from now on.
  if (!local && !reset && name === 'search_path' && isTemporarySchema(values[0])) findings.pin('temporary table');
  return d;
}

/** A boolean as settings take it; null for DEFAULT and for what is none. */
function saysYes(value: string | null | undefined): boolean | null {
  if (value === null || value === undefined) return null;
  if (/^(t|tr|tru|true|on|y|ye|yes|1)$/i.test(value)) return true;
  return /^(f|fa|fal|fals|false|of|off|n|no|0)$/i.test(value) ? false : null;
}

/** SET TRANSACTION …, SET SESSION CHARACTERISTICS AS TRANSACTION …, SET TRANSACTION SNAPSHOT. */
function setTransaction(name: string, node: Fields, d: Draft): Draft {
  const session = name === 'session characteristics';
  d.reason = session ? "sets the session's transaction defaults" : 'sets properties of the transaction';
  d.transactionControl = !session;
  transactionModes(node.args, d);
  if (session) {
    d.findings.changesSettings = true;
    for (const item of listOf(node.args)) {
      const option = textOf(unwrap(item)?.node.defname);
      if (option !== null) d.findings.setting(`default_${option}`);
    }
  }
  return d;
}

function transactionModes(options: unknown, d: Draft): void {
  for (const item of listOf(options)) {
    const option = unwrap(item)?.node;
    const value = constantText(option?.arg);
    if (option?.defname === 'transaction_isolation') d.isolation = value?.toLowerCase() ?? null;
    if (option?.defname === 'transaction_read_only') d.readOnly = value === '1' || value === 'true';
  }
}

export function showStatement(node: Fields, findings: Findings): Draft {
  const name = (textOf(node.name) ?? '').toLowerCase();
  if (name.startsWith(COMMANDS)) {
    const d = draft(findings, 'session-state', `shows ${name}`);
    d.command = { kind: 'show', name: name.slice(COMMANDS.length) };
    return d;
  }
  findings.setting(name);
  if (SHOW_ANYWHERE.has(name)) return draft(findings, 'read', `shows ${name}`);
  return draft(findings, 'write', `shows ${name}, which may differ between servers`);
}

export function discardStatement(node: Fields, findings: Findings): Draft {
  const target = textOf(node.target) ?? '';
  const d = draft(findings, 'session-state', `discards ${target.replace('DISCARD_', '').toLowerCase()}`);
  if (target === 'DISCARD_ALL') {
    d.unpin = 'all';
    findings.listenSteps.push({ kind: 'unlisten', name: null });
    findings.statementUses.push({ kind: 'deallocate', name: null });
    d.resets = 'all';
    findings.changesSettings = true;
  } else if (target === 'DISCARD_TEMP') findings.releases.push('temporary table');
  else if (target === 'DISCARD_SEQUENCES') findings.releases.push('sequence state');
  return d;
}

const ENDS = {
  TRANS_STMT_COMMIT: 'commit',
  TRANS_STMT_ROLLBACK: 'rollback',
  TRANS_STMT_PREPARE: 'prepare',
} as const;
const MOVES = {
  TRANS_STMT_SAVEPOINT: 'savepoint',
  TRANS_STMT_RELEASE: 'release',
  TRANS_STMT_ROLLBACK_TO: 'rollback to',
} as const;

export function transactionStatement(node: Fields, findings: Findings): Draft {
  const kind = textOf(node.kind) ?? '';
  switch (kind) {
    case 'TRANS_STMT_BEGIN':
    case 'TRANS_STMT_START': {
      const d = draft(findings, 'begin', 'begins a transaction');
      d.transactionControl = true;
      transactionModes(node.options, d);
      if (d.readOnly === true) d.reason = 'begins a read-only transaction';
      return d;
    }
    case 'TRANS_STMT_COMMIT':
    case 'TRANS_STMT_ROLLBACK':
    case 'TRANS_STMT_PREPARE': {
      const d = draft(findings, 'end', 'ends the transaction');
      d.transactionControl = true;
      findings.mayWrite = kind !== 'TRANS_STMT_ROLLBACK';
      findings.listenSteps.push({ kind: ENDS[kind], name: null });
      return d;
    }
    case 'TRANS_STMT_SAVEPOINT':
    case 'TRANS_STMT_RELEASE':
    case 'TRANS_STMT_ROLLBACK_TO': {
      const d = draft(findings, 'session-state', 'moves between savepoints');
      d.transactionControl = true;
      findings.mayUnpin = kind === 'TRANS_STMT_ROLLBACK_TO';
      findings.listenSteps.push({ kind: MOVES[kind], name: textOf(node.savepoint_name) ?? '' });
      return d;
    }
    case 'TRANS_STMT_COMMIT_PREPARED':
    case 'TRANS_STMT_ROLLBACK_PREPARED': {
      const d = draft(findings, 'write', 'finishes a prepared transaction');
      d.transactionControl = true;
      findings.mayWrite = true;
      return d;
    }
    default:
      findings.mayWrite = true;
      return draft(findings, 'unknown', `not understood: ${kind}`);
  }
}
