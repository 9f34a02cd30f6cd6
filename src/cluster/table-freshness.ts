import { LSN_ZERO, type Lsn, maxLsn } from '../core/lsn.ts';
import { SchemaHistory, type SchemaState } from './schema-history.ts';

/** One write to the table. `touched` without a relation: everything may have changed. */
export type FreshnessChange =
  | { readonly kind: 'touched'; readonly relation: number | null; readonly endLsn: Lsn }
  | { readonly kind: 'told'; readonly lsn: Lsn }
  | { readonly kind: 'reset'; readonly lsn: Lsn; readonly timeline: number }
  | { readonly kind: 'schema'; readonly state: SchemaState }
  | { readonly kind: 'doubted'; readonly endLsn: Lsn }
  | { readonly kind: 'cleared'; readonly endLsn: Lsn; readonly changed: boolean };

/** Relation → end LSN of the last commit that touched it. The only writer is `replication`. */
export class TableFreshness {
  readonly #last = new Map<number, Lsn>();
  /** For people; a copy has none. */
  readonly #names = new Map<number, string>();
  readonly #schema = new SchemaHistory();
  #timeline = 0;
  #all: Lsn = LSN_ZERO;
  /** The newest commit of which nobody knows what it changed. */
  #doubt: Lsn = LSN_ZERO;
  #asOf: Lsn = LSN_ZERO;
  #follower: ((change: FreshnessChange) => void) | null = null;
  readonly #listeners = new Set<(asOf: Lsn) => void>();

  /** What the table says holds for the WAL up to here; of what comes later nothing is known. */
  get asOf(): Lsn {
    return this.#asOf;
  }

  /** Of its positions. */
  get timeline(): number {
    return this.#timeline;
  }

  /** Transactions that changed the schema. */
  get schema(): Pick<SchemaHistory, 'version' | 'shows' | 'live'> {
    return this.#schema;
  }

  /** The stream has told everything up to `lsn`. */
  toldUntil(lsn: Lsn): void {
    this.#follower?.({ kind: 'told', lsn });
    this.#asOf = lsn;
    for (const listener of this.#listeners) listener(lsn);
  }

  /** Calls the listener after each `toldUntil`. @returns the function that unsubscribes. */
  onTold(listener: (asOf: Lsn) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  touch(relation: number, endLsn: Lsn): void {
    this.#follower?.({ kind: 'touched', relation, endLsn });
    this.#last.set(relation, endLsn);
  }

  /** Everything may have changed: a gap in the stream, a commit that does not tell what. */
  touchAll(endLsn: Lsn): void {
    this.#follower?.({ kind: 'touched', relation: null, endLsn });
    this.#all = maxLsn(this.#all, endLsn);
  }

  /** A commit changed something that neither tables nor marks tell: it counts for everything until it is known what it was. */
  doubt(endLsn: Lsn): void {
    this.#follower?.({ kind: 'doubted', endLsn });
    this.#doubt = maxLsn(this.#doubt, endLsn);
  }

  /** Doubtful commits up to there have been looked into. @param changed what they did may concern everything */
  clearDoubt(endLsn: Lsn, changed: boolean): void {
    this.#follower?.({ kind: 'cleared', endLsn, changed });
    if (changed) this.#all = maxLsn(this.#all, endLsn);
    if (this.#doubt <= endLsn) this.#doubt = LSN_ZERO;
  }

  lastChange(relation: number): Lsn {
    return maxLsn(this.lastChangeOfAll, this.#last.get(relation) ?? LSN_ZERO);
  }

  /** Of any of them; with none of them, of what touched everything. */
  lastChangeOf(relations: readonly number[]): Lsn {
    let last = this.lastChangeOfAll;
    for (const relation of relations) last = maxLsn(last, this.#last.get(relation) ?? LSN_ZERO);
    return last;
  }

  /** Relations with the end of the last commit that touched them, where their names are known. */
  entries(): { readonly name: string; readonly lastChange: Lsn }[] {
    return [...this.#names].map(([relation, name]) => ({ name, lastChange: this.lastChange(relation) }));
  }

  /** End of the last commit that may have touched anything. */
  get lastChangeOfAll(): Lsn {
    return maxLsn(this.#all, this.#doubt);
  }

  /** What the relation is called now, schema first. */
  called(relation: number, name: string): void {
    this.#names.set(relation, name);
  }

  /** Names may have changed. */
  forgetNames(): void {
    this.#names.clear();
  }

  get size(): number {
    return this.#last.size;
  }

  /** Nothing is known before `atLsn`; nothing was told of what comes after it. */
  reset(atLsn: Lsn, timeline: number): void {
    this.#follower?.({ kind: 'reset', lsn: atLsn, timeline });
    this.#last.clear();
    this.#names.clear();
    this.#all = atLsn;
    this.#doubt = LSN_ZERO;
    this.#asOf = LSN_ZERO;
    this.#timeline = timeline;
    this.#schema.reset();
  }

  /** A transaction changed the schema. @param xid 32 bits */
  schemaChanged(xid: number): void {
    this.#schema.changed(xid);
    // before, no catalog is of use, to whoever copies this neither
    if (this.#schema.live) this.#follower?.({ kind: 'schema', state: this.#schema.state });
  }

  /** See `SchemaHistory.startedBefore`. */
  schemaStartedBefore(xid: bigint): boolean {
    const known = this.#schema.startedBefore(xid);
    if (known) this.#follower?.({ kind: 'schema', state: this.#schema.state });
    return known;
  }

  /** For whoever keeps a copy of it: is told of everything that is written, before it is. There is one at most. */
  follow(follower: ((change: FreshnessChange) => void) | null): void {
    this.#follower = follower;
  }

  /** What makes an empty table the same as this one. */
  changes(): FreshnessChange[] {
    return [
      { kind: 'reset', lsn: this.#all, timeline: this.#timeline },
      { kind: 'schema', state: this.#schema.state },
      { kind: 'doubted', endLsn: this.#doubt },
      ...[...this.#last].map(([relation, endLsn]) => ({ kind: 'touched' as const, relation, endLsn })),
      { kind: 'told', lsn: this.#asOf },
    ];
  }

  apply(change: FreshnessChange): void {
    switch (change.kind) {
      case 'touched':
        if (change.relation === null) this.touchAll(change.endLsn);
        else this.touch(change.relation, change.endLsn);
        return;
      case 'told':
        return this.toldUntil(change.lsn);
      case 'reset':
        return this.reset(change.lsn, change.timeline);
      case 'schema':
        return this.#schema.restore(change.state);
      case 'doubted':
        return this.doubt(change.endLsn);
      case 'cleared':
        return this.clearDoubt(change.endLsn, change.changed);
      default:
        change satisfies never;
    }
  }
}
