/** What clients were told, against what the servers have. Pure. */
import type { Doubt, Drop, Entry, ReadError } from './clients.ts';
import type { ClusterEvent } from './fairlead-child.ts';
import type { Overlap } from './sampler.ts';

export type Evidence = {
  readonly mode: 'async' | 'sync' | 'quorum';
  readonly entries: readonly Entry[];
  readonly doubts: readonly Doubt[];
  readonly drops: readonly Drop[];
  readonly readErrors: readonly ReadError[];
  /** Of the last one alive; those of a lower generation died under their clients. */
  readonly generation: number;
  /** Ids on the true primary, of the round, as often as they are there. */
  readonly there: readonly number[];
  /** Of the beginning. */
  readonly primary: string;
  /** Events of the round. */
  readonly events: readonly ClusterEvent[];
  readonly overlaps: readonly Overlap[];
};

export type Counts = {
  acknowledged: number;
  failed: number;
  unknown: number;
  lost: number;
  /** Of these, not named by an event `failover`. */
  unlisted: number;
  /** Of these, acknowledged through a Fairlead that was killed before it could tell. */
  orphaned: number;
  ghosts: number;
  duplicates: number;
  twoWriters: number;
  stale: number;
  drops: number;
  readErrors: number;
  failovers: number;
  switchovers: number;
  /** Longest time in which two servers would have acknowledged writes that came to them directly. */
  overlapMs: number;
};

/** Between the clocks of an event and of a client: both are rounded. */
const CLOCK_MS = 10;

export function judge(evidence: Evidence): { readonly counts: Counts; readonly violations: string[] } {
  const { mode, entries, there, events } = evidence;
  const present = new Set(there);
  const lost = entries.filter(({ id, outcome }) => outcome === 'ok' && !present.has(id));
  const missing = unlistedOf(lost, events);
  // of one that died, nobody knows what it had acknowledged
  const orphaned = missing.filter(({ generation }) => generation < evidence.generation);
  const unlisted = missing.filter(({ generation }) => generation >= evidence.generation);
  const possible = new Set(entries.filter(({ outcome }) => outcome !== 'failed').map(({ id }) => id));
  const ghosts = [...present].filter((id) => !possible.has(id));
  const moves = events.filter(({ kind }) => kind === 'failover' || kind === 'switchover');
  const stale = evidence.doubts.filter((doubt) => present.has(doubt.missing));
  const drops = evidence.drops.filter(({ pinned, generation }) => !pinned && generation === evidence.generation);
  const count = (wanted: Entry['outcome']) => entries.filter(({ outcome }) => outcome === wanted).length;
  const counts: Counts = {
    acknowledged: count('ok'),
    failed: count('failed'),
    unknown: count('unknown'),
    lost: lost.length,
    unlisted: unlisted.length,
    orphaned: orphaned.length,
    ghosts: ghosts.length,
    duplicates: there.length - present.size,
    twoWriters: twoWriters(entries, changesOf(evidence.primary, events)),
    stale: stale.length,
    drops: drops.length,
    readErrors: evidence.readErrors.length,
    failovers: moves.filter(({ kind }) => kind === 'failover').length,
    switchovers: moves.filter(({ kind }) => kind === 'switchover').length,
    overlapMs: Math.max(0, ...evidence.overlaps.map(({ ms }) => ms)),
  };
  const violations: string[] = [];
  const told = (is: boolean, what: string) => is && violations.push(what);
  const ids = (of: readonly { readonly id: number }[]) =>
    of
      .slice(0, 5)
      .map(({ id }) => id)
      .join(', ');
  told(mode !== 'async' && lost.length > 0, `${lost.length} acknowledged writes are lost: ${ids(lost)}`);
  told(mode === 'async' && unlisted.length > 0, `${unlisted.length} lost writes are on no list: ${ids(unlisted)}`);
  told(ghosts.length > 0, `${ghosts.length} writes that failed are there: ${ghosts.slice(0, 5).join(', ')}`);
  told(counts.duplicates > 0, `${counts.duplicates} writes are there twice`);
  told(counts.twoWriters > 0, `two servers acknowledged writes in turn`);
  told(stale.length > 0, `${stale.length} stale reads: ${JSON.stringify(stale[0])}`);
  told(drops.length > 0, `${drops.length} client connections were dropped: ${drops[0]?.reason}`);
  return { counts, violations };
}

/** How often the primary changed. A Fairlead that died in the middle tells of no failover: the next one adopts whom it finds. */
function changesOf(first: string, events: readonly ClusterEvent[]): number {
  const told = events
    .filter(({ kind }) => kind === 'failover' || kind === 'switchover' || kind === 'adopted')
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  const primaries = [first, ...told.map(({ node }) => node)];
  return told.filter((_event, i) => primaries[i] !== primaries[i + 1]).length;
}

/** Lost writes that no event names: by the client's address and the time of the acknowledgement. */
function unlistedOf(lost: readonly Entry[], events: readonly ClusterEvent[]): Entry[] {
  const listed = events
    .filter(({ kind }) => kind === 'failover')
    .flatMap(({ details }) => details?.unprovenWrites ?? [])
    .map(({ acknowledgedAt, client }) => ({ client, atMs: Date.parse(acknowledgedAt) }));
  return lost.filter(
    ({ address, startedMs, endedMs }) =>
      !listed.some(
        ({ client, atMs }) => client === address && atMs >= startedMs - CLOCK_MS && atMs <= endedMs + CLOCK_MS,
      ),
  );
}

/**
 * Servers take turns at acknowledging no oftener than the primary changed. Each write happened at some moment between its start and its
 * acknowledgement: of all orders that this allows the one with the fewest turns is taken.
 * @returns how many turns there were beyond the changes
 */
export function twoWriters(entries: readonly Entry[], moves: number): number {
  let rest = entries
    .filter((entry) => entry.outcome === 'ok' && entry.server !== null)
    .sort((a, b) => a.endedMs - b.endedMs);
  let current = rest[0]?.server;
  let turns = 0;
  for (;;) {
    const next = rest.find(({ server }) => server !== current);
    if (next === undefined) return Math.max(0, turns - moves);
    rest = rest.filter(({ server, startedMs }) => server !== current || startedMs > next.endedMs);
    current = next.server;
    turns++;
  }
}
