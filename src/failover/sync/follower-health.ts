import type { Cluster } from '../../cluster/cluster.ts';
import { maybeDead } from '../../cluster/observation.ts';
import { membersOf } from '../../config/config.ts';
import { RESUME } from '../repoint.ts';
import type { PrimaryFacts, Walsender } from './read-primary.ts';
import type { Follower } from './target.ts';

/** WAL is there to acknowledge, and the standby has said nothing for this long. */
const SILENT_MS = 1500;
/** It lives and lets nobody of us in, for this long. */
const UNWILLING_MS = 1500;

/** One that let us in stays unproven for so long, and a row of failures goes on over a gap of so long. */
const WILLING_MS = 1000;

type Unwilling = { readonly sinceMs: number; readonly lastMs: number; readonly why: string };
type Sign = { readonly sign: string; readonly atMs: number };

/** Judges the followers by what the primary says of them and by whether they answer us: one that we cannot reach proves nothing at a failover. */
export class FollowerHealth {
  readonly #cluster: Cluster;
  readonly #signs = new Map<string, Sign>();
  readonly #wellSinceMs = new Map<string, number>();
  readonly #unwilling = new Map<string, Unwilling>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  look(primary: string, facts: PrimaryFacts, nowMs: number): readonly Follower[] {
    const { nodes, operator } = this.#cluster;
    return membersOf(nodes)
      .filter((node) => node.name !== primary)
      .map(({ name, promotable, weight }) => {
        const senders = facts.walsenders.filter((one) => one.name.toLowerCase() === name.toLowerCase());
        const ailment = this.#ailmentOf(name, senders, facts, nowMs);
        if (ailment !== null) this.#wellSinceMs.delete(name);
        else if (!this.#wellSinceMs.has(name)) this.#wellSinceMs.set(name, nowMs);
        return {
          ...{ name, promotable, weight, ailment, unproven: this.#unprovenOf(name, nowMs) },
          drained: operator.value.drained.has(name),
          wellForMs: nowMs - (this.#wellSinceMs.get(name) ?? nowMs),
          flushLsn: senders[0]?.flushLsn ?? null,
        };
      });
  }

  /** It acknowledges, and could not tell at a failover what it has. */
  #unprovenOf(name: string, nowMs: number): string | null {
    const { failure } = this.#cluster.observations.of(name);
    const before = this.#unwilling.get(name);
    const goesOn = before !== undefined && nowMs - before.lastMs <= WILLING_MS;
    if (failure === null || maybeDead(failure.kind)) {
      if (goesOn && failure === null) return reasonOf(before, before.lastMs);
      this.#unwilling.delete(name);
      return null;
    }
    const now = { sinceMs: goesOn ? before.sinceMs : nowMs, lastMs: nowMs, why: failure.message };
    this.#unwilling.set(name, now);
    return reasonOf(now, nowMs);
  }

  #ailmentOf(name: string, senders: readonly Walsender[], facts: PrimaryFacts, nowMs: number): string | null {
    const { observations, assignment } = this.#cluster;
    const { last, failure } = observations.of(name);
    if (assignment.value.fenced.has(name)) return 'is fenced';
    if (failure !== null && maybeDead(failure.kind)) return 'does not answer';
    if (last !== null && last.systemId !== assignment.value.systemId) return 'is of another cluster';
    const [sender] = senders;
    if (sender === undefined)
      return last?.replayPaused ? `does not stream: its replay is paused, ${RESUME}` : 'does not stream';
    if (senders.length > 1) return `shares its application_name with ${senders.length - 1} other standby`;
    if (sender.state !== 'streaming') return `is at ${sender.state}`;
    const before = this.#signs.get(name);
    const owes = sender.flushLsn === null || sender.flushLsn < facts.flushLsn;
    if (before === undefined || before.sign !== sender.sign || !owes) {
      this.#signs.set(name, { sign: sender.sign, atMs: nowMs });
      return null;
    }
    return nowMs - before.atMs > SILENT_MS ? 'does not acknowledge' : null;
  }
}

function reasonOf({ sinceMs, why }: Unwilling, atMs: number): string | null {
  return atMs - sinceMs > UNWILLING_MS ? `does not let Fairlead in: ${why}` : null;
}
