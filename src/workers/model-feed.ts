import type { Cluster } from '../cluster/cluster.ts';
import type { FreshnessChange } from '../cluster/table-freshness.ts';
import type { Lsn } from '../core/lsn.ts';
import type { ModelChange } from './messages.ts';

/** Tells of every write to the model, those of one turn together. */
export class ModelFeed {
  readonly #cluster: Cluster;
  readonly #tell: (changes: readonly ModelChange[]) => void;
  readonly #unsubscribes: readonly (() => void)[];
  #changes: ModelChange[] = [];
  #endLsns: Lsn[] = [];
  #timesMs: number[] = [];
  #freshness: FreshnessChange[] = [];
  #due = false;

  constructor(cluster: Cluster, tell: (changes: readonly ModelChange[]) => void) {
    this.#cluster = cluster;
    this.#tell = tell;
    const { assignment, operator, observations, commits, freshness } = cluster;
    this.#unsubscribes = [
      assignment.subscribe((value) => this.#add({ kind: 'assignment', value })),
      operator.subscribe((value) => this.#add({ kind: 'operator', value })),
      observations.subscribe((node) => {
        const { last, failure } = observations.of(node);
        if (failure !== null) this.#add({ kind: 'failed', failure });
        else if (last !== null) this.#add({ kind: 'seen', seen: last });
      }),
      observations.onAdvance((node) => {
        const position = observations.position(node);
        if (position !== null) this.#add({ kind: 'position', node, position });
      }),
      () => commits.follow(null),
      () => freshness.follow(null),
    ];
    commits.follow({
      recorded: (endLsn, commitMs) => {
        this.#endLsns.push(endLsn);
        this.#timesMs.push(commitMs);
        this.#schedule();
      },
      reset: () => this.#add({ kind: 'commits reset' }),
    });
    freshness.follow((change) => {
      this.#freshness.push(change);
      this.#schedule();
    });
  }

  /** What makes an empty model the same as this one is now. */
  everything(): ModelChange[] {
    const { nodes, observations, assignment, operator, commits, freshness } = this.#cluster;
    return [
      ...nodes.map(({ name }) => ({
        kind: 'node' as const,
        node: name,
        record: observations.of(name),
        trail: observations.positions(name),
      })),
      { kind: 'commits', ...commits.entries() },
      { kind: 'freshness', changes: freshness.changes() },
      { kind: 'operator', value: operator.value },
      { kind: 'assignment', value: assignment.value },
    ];
  }

  /** Tells now what has not been told. */
  flush(): void {
    this.#due = false;
    this.#collect();
    const changes = this.#changes;
    this.#changes = [];
    if (changes.length > 0) this.#tell(changes);
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribes) unsubscribe();
  }

  #add(change: ModelChange): void {
    this.#collect();
    this.#changes.push(change);
    this.#schedule();
  }

  /** Commits and freshness are columns of many writes: they are put in their place when something else follows. */
  #collect(): void {
    if (this.#endLsns.length > 0) {
      const [endLsns, timesMs] = [BigUint64Array.from(this.#endLsns), Float64Array.from(this.#timesMs)];
      this.#changes.push({ kind: 'commits', endLsns, timesMs });
      this.#endLsns = [];
      this.#timesMs = [];
    }
    if (this.#freshness.length === 0) return;
    this.#changes.push({ kind: 'freshness', changes: this.#freshness });
    this.#freshness = [];
  }

  #schedule(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      if (this.#due) this.flush();
    });
  }
}
