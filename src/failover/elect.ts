import { bytesBetween, formatLsn, LSN_ZERO, type Lsn } from '../core/lsn.ts';

/** A node as the election sees it. */
export type Candidate = {
  readonly name: string;
  readonly weight: number;
  readonly promotable: boolean;
  readonly drained: boolean;
  /** Null: it does not answer as a replica; `reason` of the veto tells. */
  readonly position: {
    readonly systemId: string;
    readonly timeline: number;
    readonly receiveLsn: Lsn;
    readonly replayLsn: Lsn;
    readonly paused: boolean;
  } | null;
  /** A reason known beforehand: fenced, failed to be promoted. */
  readonly veto: string | null;
  /** Why it may lack an acknowledged commit; null: it has all, or none was promised to be anywhere. */
  readonly doubt?: string | null;
  /** The same if it had all that the most advanced one has. */
  readonly doubtForwarded?: string | null;
  /** Why it cannot get what it lacks: that was tried. */
  readonly notForwarded?: string | null;
};

export type ElectionRules = {
  readonly systemId: string | null;
  /** Timeline of the primary that is replaced; 0 when unknown: then the highest among the candidates. */
  readonly timeline: number;
  /** Newest position known of the primary that is replaced; LSN_ZERO when unknown. */
  readonly newestLsn: Lsn;
  /** Most bytes that may be lost; Infinity when an operator forces it. */
  readonly maxLossBytes: number;
  /** An operator's choice, or null. */
  readonly to: string | null;
  /** Doubts are no veto. */
  readonly allowDataLoss?: boolean;
  /** One replica may fetch what it lacks from another before it is promoted. */
  readonly mayForward?: boolean;
};

/** `node` is to fetch what it lacks from `source`, then positions are compared again. */
export type Forwarding = {
  readonly node: string;
  readonly source: string;
  readonly lsn: Lsn;
  readonly limitMs: number;
};

export type Election = {
  readonly elected: string | null;
  readonly receiveLsn: Lsn;
  /** Upper bound of the WAL that will be lost. */
  readonly lossBytes: number;
  readonly vetoes: readonly { readonly node: string; readonly reason: string }[];
  /** Of the one that is elected all the same, or of the best one that is not because of it. */
  readonly doubt: string | null;
  /** Comes first where it is not null: nobody is promoted yet. */
  readonly forward: Forwarding | null;
};

/** Replay that is paused this far behind what was received would hold everybody for too long. */
const PAUSED_BACKLOG_BYTES = 64 * 1024 * 1024;

/** A replica that is preferred to the most advanced one, and lacks no more than this, gets it. */
const PREFERENCE_BYTES = 16 * 1024 * 1024;
/** Where nobody else has what it lacks, it is waited for longer than where it is only preferred. */
const FORWARD_MS = { needed: 10_000, preferred: 2000 } as const;

/** The most advanced replica that nothing speaks against; what it lacks and another one has it fetches first. Pure. */
export function elect(candidates: readonly Candidate[], rules: ElectionRules): Election {
  const timeline = timelineOf(candidates, rules);
  const vetoes: { node: string; reason: string }[] = [];
  const eligible = candidates.filter((candidate) => {
    const reason = vetoOf(candidate, rules, timeline);
    if (reason !== null) vetoes.push({ node: candidate.name, reason });
    return reason === null;
  });
  const best = [...eligible].sort(byMerit)[0];
  const forward = forwardingOf(candidates, best, rules, timeline);
  if (best === undefined) {
    const doubt =
      candidates.find((c) => vetoOf(c, { ...rules, allowDataLoss: true }, timeline) === null)?.doubt ?? null;
    return { elected: null, receiveLsn: LSN_ZERO, lossBytes: 0, vetoes, doubt, forward };
  }
  const doubt = best.doubt ?? null;
  const receiveLsn = (best.position as NonNullable<Candidate['position']>).receiveLsn;
  const lossBytes = bytesBetween(receiveLsn, rules.newestLsn);
  if (lossBytes <= rules.maxLossBytes) return { elected: best.name, receiveLsn, lossBytes, vetoes, doubt, forward };
  const reason = `up to ${lossBytes} bytes would be lost, failover.max_loss is ${rules.maxLossBytes}: it has ${formatLsn(receiveLsn)}, the primary was at ${formatLsn(rules.newestLsn)}`;
  return { elected: null, receiveLsn, lossBytes, vetoes: [...vetoes, { node: best.name, reason }], doubt, forward };
}

/** Of the primary that is replaced; the highest among the candidates where that is not known. */
export function timelineOf(candidates: readonly Candidate[], { timeline }: Pick<ElectionRules, 'timeline'>): number {
  return timeline === 0 ? Math.max(0, ...candidates.map((c) => c.position?.timeline ?? 0)) : timeline;
}

/** Whom the others could fetch WAL from: the most advanced one, promotable or not. */
export function sourceOf(
  candidates: readonly Candidate[],
  systemId: string | null,
  timeline: number,
): Candidate | null {
  const usable = candidates.filter(
    ({ veto, position }) =>
      veto === null &&
      position !== null &&
      position.timeline === timeline &&
      (systemId === null || position.systemId === systemId),
  );
  return [...usable].sort(byMerit)[0] ?? null;
}

function forwardingOf(
  candidates: readonly Candidate[],
  best: Candidate | undefined,
  rules: ElectionRules,
  timeline: number,
): Forwarding | null {
  const source = rules.mayForward === true ? sourceOf(candidates, rules.systemId, timeline) : null;
  if (source === null || source.position === null) return null;
  const lsn = source.position.receiveLsn;
  if (bytesBetween(lsn, rules.newestLsn) > rules.maxLossBytes) return null;
  const lacking = candidates.filter(
    (c) =>
      (c.notForwarded ?? null) === null &&
      c.position !== null &&
      c.position.receiveLsn < lsn &&
      vetoOf({ ...c, doubt: c.doubtForwarded ?? null }, rules, timeline) === null,
  );
  const near = (c: Candidate) => bytesBetween(c.position?.receiveLsn ?? LSN_ZERO, lsn) <= PREFERENCE_BYTES;
  const byWill = (a: Candidate, b: Candidate) => byPreference(a, b) || byMerit(a, b);
  const to = ({ name }: Candidate, limitMs: number) => ({ node: name, source: source.name, lsn, limitMs });
  const running = lacking.filter((c) => !isPaused(c));
  const ofRunning = running.filter(near).sort(byWill)[0] ?? running.sort(byMerit)[0];
  // the most advanced one may be promoted: another goes before it only where somebody said so, or if it is paused
  if (best?.position?.receiveLsn === lsn) {
    if (ofRunning === undefined || byPreference(ofRunning, best) >= 0) return null;
    if (near(ofRunning)) return to(ofRunning, FORWARD_MS.preferred);
    return isPaused(best) ? to(ofRunning, FORWARD_MS.needed) : null;
  }
  // a pause is ended, without which none receives anything, only where there is no other
  const needed = ofRunning ?? lacking.filter(near).sort(byWill)[0] ?? lacking.sort(byMerit)[0];
  return needed === undefined ? null : to(needed, FORWARD_MS.needed);
}

/**
 * Those that replay: a pause may be an operator's, who wants to keep what is there, or PostgreSQL's own (14 and later), where a setting like
 * max_connections is lower than on the primary, and then the server ends when it is promoted. After that what people said: those in use, then weight.
 */
function byPreference(a: Candidate, b: Candidate): number {
  if (isPaused(a) !== isPaused(b)) return isPaused(a) ? 1 : -1;
  if (a.drained !== b.drained) return a.drained ? 1 : -1;
  return b.weight - a.weight;
}

function isPaused({ position }: Candidate): boolean {
  return position?.paused === true;
}

function vetoOf(candidate: Candidate, rules: ElectionRules, timeline: number): string | null {
  const { position } = candidate;
  if (candidate.veto !== null) return candidate.veto;
  if (rules.to !== null && candidate.name !== rules.to) return `${rules.to} was asked for`;
  if (!candidate.promotable) return 'configured as not promotable';
  if (position === null) return 'does not answer as a replica';
  if (rules.systemId !== null && position.systemId !== rules.systemId) {
    return `another cluster: system identifier ${position.systemId}, not ${rules.systemId}`;
  }
  if (position.timeline !== timeline) return `on timeline ${position.timeline}, the primary was on ${timeline}`;
  const backlogBytes = bytesBetween(position.replayLsn, position.receiveLsn);
  if (position.paused && backlogBytes > PAUSED_BACKLOG_BYTES) {
    return `its replay is paused, ${backlogBytes} bytes behind what it received`;
  }
  if (rules.allowDataLoss !== true && (candidate.doubt ?? null) !== null) {
    return `it may lack acknowledged commits: ${candidate.doubt}`;
  }
  return null;
}

/** Position first; among equals those in use, then weight, then the name. */
function byMerit(a: Candidate, b: Candidate): number {
  const left = a.position?.receiveLsn ?? LSN_ZERO;
  const right = b.position?.receiveLsn ?? LSN_ZERO;
  if (left !== right) return left > right ? -1 : 1;
  const preference = byPreference(a, b);
  if (preference !== 0) return preference;
  return a.name < b.name ? -1 : 1;
}

/** Nobody can be promoted, not even after fetching what it lacks. */
export function isHopeless(election: Election): boolean {
  return election.elected === null && election.forward === null;
}

/** All reasons in one sentence, and what to do where an operator may want to. */
export function vetoesInWords(election: Election, notForwarded: ReadonlyMap<string, string> = new Map()): string {
  const vetoes = election.vetoes.map((v) => `${v.node}: ${v.reason}`);
  const reasons = [...vetoes, ...notForwarded.values()].join('; ');
  if (election.elected !== null || election.doubt === null) return reasons;
  return `${reasons}. Start the primary, or the followers that are missing; or accept the loss: fairlead failover --allow-data-loss`;
}
