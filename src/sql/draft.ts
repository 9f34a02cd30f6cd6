import { isCounter } from './builtins.ts';
import type { Findings } from './findings.ts';
import { joinedChange } from './schema-change.ts';
import { joinTables, tablesRead } from './tables-read.ts';
import type { FairleadCommand, PinReason, StatementClass, Verdict } from './verdict.ts';

/** The verdict on one statement while it is being made; `join` makes one verdict of all statements of a text. */
export type Draft = {
  class: StatementClass;
  reason: string;
  readOnly: boolean | null;
  isolation: string | null;
  unpin: 'all' | null;
  command: FairleadCommand | null;
  resets: readonly string[] | 'all';
  vacates: readonly string[] | null;
  prepares: NonNullable<Verdict['prepares']> | null;
  /** BEGIN, COMMIT, SAVEPOINT, SET TRANSACTION …: not understood among other statements. */
  transactionControl: boolean;
  readonly findings: Findings;
};

export function draft(findings: Findings, statementClass: StatementClass, reason: string): Draft {
  return {
    class: statementClass,
    reason,
    readOnly: null,
    isolation: null,
    unpin: null,
    command: null,
    resets: [],
    vacates: null,
    prepares: null,
    transactionControl: false,
    findings,
  };
}

type Part = Omit<Verdict, 'statements' | 'hint'>;

function finish(d: Draft): Part {
  const f = d.findings;
  return {
    class: d.class,
    reason: d.reason,
    readOnly: d.readOnly,
    isolation: d.isolation,
    pin: f.pins[0] ?? null,
    ...(f.pins.length > 1 ? { pins: f.pins } : {}),
    ...(d.prepares === null ? {} : { prepares: d.prepares }),
    unpin: d.unpin,
    changesSettings: f.changesSettings,
    settings: f.settings,
    settingsByName: f.settingsByName,
    changesLiterals: f.changesLiterals,
    resets: d.resets,
    relations: f.relations,
    functions: f.functions,
    command: d.command,
    mayWrite: f.mayWrite,
    callsVolatile: f.callsVolatile,
    releases: f.releases,
    mayUnpin: f.mayUnpin,
    ...(f.statementUses.length === 0 ? {} : { statementUses: f.statementUses }),
    ...(d.vacates === null ? {} : { vacates: d.vacates }),
    mayAdvanceSequence: f.mayAdvanceSequence,
    ofSession: f.ofSession,
    ...(f.unseen ? { unseen: true } : {}),
    ...(f.altersSchema === null ? {} : { altersSchema: f.altersSchema }),
    readsCounters: f.relations.some(({ name }) => isCounter(name)) || f.functions.some(({ name }) => isCounter(name)),
    listenSteps: f.listenSteps,
    signal: f.signal,
    ...(d.class === 'read' ? whatItReads(d) : {}),
  };
}

function whatItReads({ findings }: Draft): Pick<Verdict, 'tables' | 'opaque'> {
  const tables = tablesRead(findings);
  return tables === null ? { opaque: findings.tables.why ?? 'not known' } : { tables };
}

/** One verdict for the whole text. A read only when every statement is one. */
export function join(drafts: readonly Draft[]): Part {
  const only = drafts[0];
  if (only === undefined) throw new Error('join needs a statement');
  if (drafts.length === 1) return finish(only);
  const parts = drafts.map(finish);
  const [statementClass, reason] = joinedClass(drafts);
  // Taken in order: what is pinned after DISCARD ALL stays pinned.
  const pins = new Set<PinReason>();
  let unpin: 'all' | null = null;
  for (const part of parts) {
    if (part.unpin !== null) {
      unpin = 'all';
      pins.clear();
    }
    if (part.pin !== null) unpin = null;
    for (const pin of part.pins ?? [part.pin]) if (pin !== null) pins.add(pin);
  }
  const altersSchema = joinedChange(parts.map((part) => part.altersSchema));
  const prepares = parts.map((part) => part.prepares ?? null).filter((p) => p !== null);
  const statementUses = parts.flatMap((part) => part.statementUses ?? []);
  return {
    class: statementClass,
    reason,
    readOnly: drafts.some((d) => d.readOnly === false) ? false : null,
    isolation: null,
    pin: [...pins][0] ?? null,
    ...(pins.size > 1 ? { pins: [...pins] } : {}),
    ...(prepares.length === 0 ? {} : { prepares: joinedEffects(prepares) }),
    unpin,
    changesSettings: parts.some((part) => part.changesSettings),
    settings: [...new Set(parts.flatMap((part) => part.settings))],
    changesLiterals: parts.some((part) => part.changesLiterals === true),
    settingsByName: parts.every((part) => part.settingsByName === true),
    resets: parts.some((part) => part.resets === 'all')
      ? 'all'
      : parts.flatMap((part) => (part.resets ?? []) as readonly string[]),
    relations: parts.flatMap((part) => part.relations),
    functions: parts.flatMap((part) => part.functions),
    command: null,
    mayWrite: parts.some((part) => part.mayWrite !== false),
    callsVolatile: statementClass !== 'read' && parts.every((part) => part.class === 'read' || part.callsVolatile),
    releases: pins.size === 0 ? parts.flatMap((part) => part.releases ?? []) : [],
    mayUnpin: parts.some((part) => part.mayUnpin === true),
    ...(statementUses.length === 0 ? {} : { statementUses }),
    ...(parts.some((part) => part.unseen === true) ? { unseen: true } : {}),
    ...(altersSchema === null ? {} : { altersSchema }),
    mayAdvanceSequence: parts.some((part) => part.mayAdvanceSequence === true),
    readsCounters: parts.some((part) => part.readsCounters === true),
    listenSteps: parts.flatMap((part) => part.listenSteps ?? []),
    ...(statementClass === 'read' ? joinedTables(parts) : {}),
  };
}

function joinedTables(parts: readonly Part[]): Pick<Verdict, 'tables' | 'opaque'> {
  const tables = joinTables(parts.map((part) => part.tables ?? null));
  return tables === null ? { opaque: parts.find((part) => part.opaque)?.opaque ?? 'not known' } : { tables };
}

function joinedEffects(of: readonly NonNullable<Verdict['prepares']>[]): NonNullable<Verdict['prepares']> {
  return { pins: of.flatMap(({ pins }) => pins), changesSettings: of.some((one) => one.changesSettings) };
}

function joinedClass(drafts: readonly Draft[]): [StatementClass, string] {
  if (drafts.some((d) => d.command !== null)) return ['unknown', 'a fairlead setting among several statements'];
  if (drafts.some((d) => d.transactionControl)) return ['unknown', 'several statements with transaction control'];
  for (const wanted of ['unknown', 'copy', 'write', 'session-state'] as const) {
    const found = drafts.find((d) => d.class === wanted);
    if (found === undefined) continue;
    return wanted === 'copy' ? ['unknown', 'several statements with COPY'] : [wanted, found.reason];
  }
  return ['read', `${drafts.length} reads`];
}
