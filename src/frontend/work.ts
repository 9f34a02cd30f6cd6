import { Pace } from '../backend/pace.ts';
import type { Lsn } from '../core/lsn.ts';
import type { RouteReason } from '../routing/decision.ts';
import { joinTables, type TablesRead } from '../sql/tables-read.ts';
import type { StatementClass, Verdict } from '../sql/verdict.ts';
import type { Batch } from './batch.ts';
import type { NameUse } from './name-use.ts';
import type { TrafficClass } from './traffic-snapshot.ts';

/** Is told where the replica was right before a read ran, and what that must have seen. */
export type ReadAuditor = (node: string, replayed: Lsn, floor: Lsn) => void;

/** One request of a client on its way: from its last byte read to its ReadyForQuery. */
export type Work = {
  /** `query`: raw bytes as they came; `batch`: messages of the extended protocol; `stream`: the beginning of a message too large to collect. */
  readonly kind: 'query' | 'batch' | 'stream';
  readonly verdicts: readonly Verdict[];
  readonly batch: Batch | null;
  /** Bytes that go to the server as they are, after the batch. */
  readonly raw: Buffer | null;
  /** What the query in `raw` does with names of statements. */
  readonly use: NameUse | null;
  /** False when the client will send more before it wants ReadyForQuery. */
  readonly synced: boolean;
  /** Parse and Describe only, ended by Flush: answered by an exchange of its own. */
  readonly describeOnly: boolean;
  readonly startedMs: number;
  /** How often it has been sent to a server and lost. */
  losses: number;
  /** Nodes that refused or lost it. */
  avoid: Set<string> | null;
  /** It has to have a server connection to itself. */
  alone: boolean;
  /** Whoever is to know where the replica was before it ran; null: nobody; undefined: that is not decided yet. */
  audit: ReadAuditor | null | undefined;
  /** Set when it has to run on the primary after all. */
  forced: RouteReason | null;
  /** What its server connection has to listen on meanwhile, because it asks for that. */
  listens: readonly string[];
};

/** The node refused it, or lost it. */
export function avoidNode(work: Work, node: string): void {
  work.avoid ??= new Set();
  work.avoid.add(node);
}

/** What the statements of a request amount to. */
export type Summary = {
  readonly class: StatementClass;
  /** May run on a replica as far as the statements go. */
  readonly read: boolean;
  /** Why the primary, if it is the primary. */
  readonly reason: RouteReason;
  /** Why a replica, where that has a reason of its own. */
  readonly replicaReason: RouteReason | null;
  readonly detail: string;
  readonly traffic: TrafficClass;
  readonly hint: 'primary' | 'replica' | null;
  readonly maxStalenessMs: number | null;
  /** What a read reads; null: not known. */
  readonly tables: TablesRead | null;
  /** Of a read that leaves nothing in its server connection and sees nothing there but settings: how long such take. Null: of all others. */
  readonly pace: Pace | null;
};

export const UNKNOWN: Summary = {
  class: 'unknown',
  read: false,
  reason: 'unknown statement',
  replicaReason: null,
  detail: 'not looked at',
  traffic: 'other',
  hint: null,
  maxStalenessMs: null,
  tables: null,
  pace: null,
};

const REASON_OF: Readonly<Record<StatementClass, RouteReason>> = {
  read: 'no replica',
  write: 'write',
  begin: 'transaction',
  end: 'transaction',
  'session-state': 'session state',
  copy: 'copy',
  unknown: 'unknown statement',
};

function ofOne(verdict: Verdict): Summary {
  const hint = verdict.hint?.target ?? null;
  const readOnlyTransaction =
    verdict.class === 'begin' && verdict.readOnly === true && verdict.isolation !== 'serializable';
  const read =
    verdict.class === 'read' || readOnlyTransaction || (hint === 'replica' && verdict.callsVolatile === true);
  return {
    class: verdict.class,
    read: read && verdict.pin === null && !verdict.changesSettings,
    reason: verdict.callsVolatile === true ? 'volatile function' : REASON_OF[verdict.class],
    replicaReason: readOnlyTransaction ? 'read only transaction' : null,
    detail: verdict.reason,
    traffic:
      verdict.class === 'read' ? 'read' : verdict.class === 'write' || verdict.class === 'copy' ? 'write' : 'other',
    hint,
    maxStalenessMs: verdict.hint?.maxStalenessMs ?? null,
    tables: verdict.tables ?? null,
    pace: leavesNothing(verdict) ? new Pace() : null,
  };
}

/** A single read after which the server connection is as it was. */
function leavesNothing(verdict: Verdict): boolean {
  return (
    verdict.class === 'read' &&
    verdict.statements === 1 &&
    verdict.pin === null &&
    !verdict.changesSettings &&
    verdict.command === null &&
    verdict.unpin === null &&
    verdict.callsVolatile !== true &&
    verdict.unseen !== true &&
    verdict.ofSession !== true &&
    verdict.readsCounters !== true &&
    verdict.mayAdvanceSequence !== true &&
    verdict.mayUnpin !== true &&
    verdict.altersSchema === undefined &&
    verdict.vacates === undefined &&
    (verdict.statementUses ?? []).length === 0 &&
    (verdict.listenSteps ?? []).length === 0 &&
    (verdict.signal ?? null) === null &&
    (verdict.resets ?? []).length === 0 &&
    (verdict.releases ?? []).length === 0
  );
}

const SUMMARIES = new WeakMap<Verdict, Summary>();

/** Sums up the statements of a request; several statements are a read only when all of them are. */
export function summarize(verdicts: readonly Verdict[]): Summary {
  const first = verdicts[0];
  if (first === undefined) return UNKNOWN;
  let summary = SUMMARIES.get(first);
  if (summary === undefined) {
    summary = Object.freeze(ofOne(first));
    SUMMARIES.set(first, summary);
  }
  if (verdicts.length === 1) return summary;
  const all = verdicts.map((verdict) => ofOne(verdict));
  if (all.every((s) => s.class === 'read' && s.read)) {
    return { ...summary, tables: joinTables(all.map(({ tables }) => tables)) };
  }
  const control = all.find((s) => s.class === 'begin' || s.class === 'end');
  const decisive = control ?? all.find((s) => !s.read) ?? summary;
  return { ...decisive, class: control === undefined ? decisive.class : 'unknown', read: false };
}

/** After an error in the batch the server skips the query and wants a Sync: there is no second try. */
export function queryEndsBatch(work: Work): boolean {
  return work.batch !== null && work.raw !== null;
}

/** What closes the stretch of the batch that is sent with the request. */
export function endOf(work: Work): 'sync' | 'flush' | 'none' {
  if (work.describeOnly || (work.synced && work.raw === null)) return 'sync';
  return work.synced ? 'none' : 'flush';
}

/** A COPY from the client may follow: whether the server reads the Sync before the data or instead of it is known only from its answer. */
export function owesSync({ synced, raw, batch, verdicts }: Work): boolean {
  if (!synced || raw !== null || batch?.executes !== true) return false;
  return !batch.copies && verdicts.some((verdict) => verdict.class === 'copy');
}
