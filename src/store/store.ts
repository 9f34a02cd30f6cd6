/**
 * Fairlead's own tables on the assigned primary, with a memory for the time when there is none: what happens during a failover is
 * readable at once and written when somebody can take it.
 */
import { randomUUID } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import type { Cluster } from '../cluster/cluster.ts';
import { type Config, membersOf } from '../config/config.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { formatLsn, type Lsn, parseLsn } from '../core/lsn.ts';
import { closeDatabase, loginOf, openDatabase } from './database.ts';
import type { EpochRecord, LagSample, NewEvent, StoredEvent, SynchronyRecord } from './records.ts';
import type { FairleadTables } from './tables.ts';

/** Events and epochs of this run that are kept in memory; with a new primary they are written again where they are missing. */
const KEEP_EVENTS = 1000;

/** Bounds of the history of lag: what is older, or more, is removed. */
const LAG_KEEP_MS = 7 * 24 * 3600 * 1000;
const LAG_KEEP_ROWS = 200_000;

const RETRY_MS = 1000;
/** The schema is missing, or the role may not: it takes a person to change that. */
const FORBIDDEN_RETRY_MS = 30_000;

export class Store {
  readonly #cluster: Cluster;
  readonly #config: Config;
  readonly #log: Log;
  #db: Kysely<FairleadTables> | null = null;
  #primary: string | null = null;
  /** Oldest first. */
  #events: readonly StoredEvent[] = [];
  #epochs: readonly EpochRecord[] = [];
  readonly #unwrittenEvents = new Set<StoredEvent>();
  readonly #unwrittenEpochs = new Set<EpochRecord>();
  readonly #listeners = new Set<(event: StoredEvent) => void>();
  #flushing: Promise<void> | null = null;
  #retry: NodeJS.Timeout | undefined;
  #unsubscribe: () => void = () => {};
  #warned = false;
  #stopped = false;

  constructor(cluster: Cluster, options: { readonly config: Config; readonly log: Log }) {
    this.#cluster = cluster;
    this.#config = options.config;
    this.#log = options.log;
  }

  start(): void {
    this.#unsubscribe = this.#cluster.assignment.subscribe(() => this.#retarget());
    this.#retarget();
  }

  /** Tries once more to write what is left. */
  async stop(): Promise<void> {
    this.#unsubscribe();
    clearTimeout(this.#retry);
    await this.#flush().catch(() => {});
    this.#stopped = true;
    if (this.#db !== null) await closeDatabase(this.#db);
    this.#db = null;
  }

  /**
   * Keeps the epoch and writes it to the assigned primary.
   * @throws when it could not be written now; it is tried again until it can
   */
  async recordEpoch(record: EpochRecord): Promise<void> {
    this.#epochs = [...this.#epochs, record].slice(-KEEP_EVENTS);
    this.#unwrittenEpochs.add(record);
    await this.#flush();
    if (this.#unwrittenEpochs.has(record))
      throw new Error('the epoch is kept in memory until there is a primary to write it to');
  }

  /** The newest epoch that `node` has on record, replicas included; null when it has none. @throws when the node does not answer */
  async latestEpoch(node: string): Promise<EpochRecord | null> {
    return this.#newestOf(node, async (db) => {
      const row = await db.selectFrom('epochs').selectAll().orderBy('epoch', 'desc').limit(1).executeTakeFirst();
      if (row === undefined) return null;
      return {
        epoch: Number(row.epoch),
        primary: row.primary,
        timeline: row.timeline,
        systemId: row.system_id,
        forkLsn: row.fork_lsn === null ? null : parseLsn(row.fork_lsn),
        reason: row.reason,
        atMs: row.at.getTime(),
      };
    });
  }

  /**
   * Wall clock milliseconds of the automatic promotions since `sinceMs` that `node` has on record, replicas included.
   * @throws when it does not answer
   */
  async recentPromotions(node: string, sinceMs: number): Promise<readonly number[]> {
    const found = await this.#newestOf(node, async (db) => {
      const rows = await db
        .selectFrom('events')
        .select('at')
        .where('kind', '=', 'failover')
        .where('at', '>=', new Date(sinceMs))
        .where(sql<boolean>`detail ->> 'kind' = 'automatic'`)
        .orderBy('at', 'desc')
        .limit(20)
        .execute();
      return rows.map(({ at }) => at.getTime());
    });
    return found ?? [];
  }

  /** Reads what one node has on record; null where it has no such table. @throws when it does not answer */
  async #newestOf<T>(node: string, read: (db: Kysely<FairleadTables>) => Promise<T | null>): Promise<T | null> {
    const configured = this.#cluster.nodes.find((n) => n.name === node);
    if (configured === undefined) return null;
    const db = openDatabase(loginOf(this.#config, configured), 1);
    try {
      return await read(db);
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    } finally {
      await closeDatabase(db);
    }
  }

  /** The newest epoch that any node knows of; null when none does. Nodes that do not answer are left out. */
  async loadEpoch(): Promise<EpochRecord | null> {
    const members = membersOf(this.#cluster.nodes);
    const found = await Promise.all(members.map((n) => this.latestEpoch(n.name).catch(() => null)));
    return found.reduce((best, one) => (one !== null && (best === null || one.epoch > best.epoch) ? one : best), null);
  }

  /** Keeps the event; resolves at once, whether or not there is somebody to write it to. */
  async recordEvent(event: NewEvent): Promise<void> {
    const stored = this.#stored(event);
    this.#unwrittenEvents.add(stored);
    if (this.#unwrittenEvents.size > KEEP_EVENTS) this.#unwrittenEvents.delete(first(this.#unwrittenEvents));
    this.#keep(stored);
    this.#flush().catch(() => {});
  }

  /**
   * Writes where commits are, with an event, in one transaction on the assigned primary.
   * @throws when they are not durable there; then neither is kept
   */
  async recordSynchrony(record: SynchronyRecord, event: NewEvent | null): Promise<void> {
    const db = this.#writable();
    if (this.#primary !== record.primary) throw new Error(`${record.primary} is not the primary any more`);
    const stored = event === null ? null : this.#stored(event);
    await db.transaction().execute(async (transaction) => {
      const row = synchronyRow(record);
      await transaction
        .insertInto('synchrony')
        .values(row)
        .onConflict((c) => c.column('epoch').doUpdateSet(row))
        .execute();
      if (stored !== null) await transaction.insertInto('events').values(eventRow(stored)).execute();
    });
    if (stored !== null) this.#keep(stored);
  }

  /** The newest record of where commits are that `node` has, replicas included; null when it has none. @throws when it does not answer */
  async latestSynchrony(node: string): Promise<SynchronyRecord | null> {
    return this.#newestOf(node, async (db) => {
      const row = await db.selectFrom('synchrony').selectAll().orderBy('epoch', 'desc').limit(1).executeTakeFirst();
      if (row === undefined) return null;
      const { version, primary, timeline, at } = row;
      const guarantee = row.guarantee as SynchronyRecord['guarantee'];
      return { epoch: Number(row.epoch), version, primary, timeline, guarantee, atMs: at.getTime() };
    });
  }

  /** The newest event of these kinds that `node` has on record; null when it has none. @throws when it does not answer */
  async latestEvent(node: string, kinds: readonly string[]): Promise<Pick<StoredEvent, 'kind' | 'detail'> | null> {
    return this.#newestOf(node, async (db) => {
      const events = db.selectFrom('events').select(['kind', 'detail']).where('kind', 'in', kinds);
      const row = await events.orderBy('at', 'desc').limit(1).executeTakeFirst();
      return row === undefined ? null : { kind: row.kind, detail: row.detail as object };
    });
  }

  #stored(event: NewEvent): StoredEvent {
    const epoch = event.epoch === undefined ? this.#cluster.assignment.value.epoch : event.epoch;
    const { kind, message, node, detail, atMs } = event;
    return Object.freeze({ id: randomUUID(), kind, message, node, detail, atMs, epoch });
  }

  #keep(stored: StoredEvent): void {
    this.#events = [...this.#events, stored].slice(-KEEP_EVENTS);
    for (const listener of this.#listeners) listener(stored);
  }

  /** Calls the listener with every event from now on. @returns the function that unsubscribes. */
  subscribe(listener: (event: StoredEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Newest first: those of this run, and those of earlier runs where the primary answers. Never rejects. */
  async listEvents(limit: number): Promise<readonly StoredEvent[]> {
    const known = new Map(this.#events.map((event) => [event.id, event]));
    try {
      const query = this.#db?.selectFrom('events').selectAll().orderBy('at', 'desc').limit(limit);
      for (const row of (await query?.execute()) ?? []) {
        if (known.has(row.id)) continue;
        const { id, kind, node, message } = row;
        const epoch = row.epoch === null ? null : Number(row.epoch);
        known.set(id, { id, kind, node, message, epoch, detail: row.detail as object, atMs: row.at.getTime() });
      }
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, 'events of earlier runs are not readable');
    }
    return [...known.values()].sort((a, b) => b.atMs - a.atMs).slice(0, limit);
  }

  /** Writes samples of lag and removes old ones. @throws when there is no primary or it does not take them */
  async recordLagSamples(samples: readonly LagSample[]): Promise<void> {
    if (samples.length === 0) return;
    const db = this.#writable();
    await db
      .insertInto('lag_samples')
      .values(
        samples.map((s) => ({
          at: new Date(s.atMs),
          node: s.node,
          lag_ms: s.lagMs,
          lag_bytes: s.lagBytes === null ? null : String(Math.round(s.lagBytes)),
        })),
      )
      .onConflict((c) => c.doNothing())
      .execute();
    await db
      .deleteFrom('lag_samples')
      .where((b) =>
        b.or([
          b('at', '<', new Date(Date.now() - LAG_KEEP_MS)),
          b('at', '<=', b.selectFrom('lag_samples').select('at').orderBy('at', 'desc').offset(LAG_KEEP_ROWS).limit(1)),
        ]),
      )
      .execute();
  }

  /** Ascending by time, `sinceMs` included, `untilMs` not; `node` null for all. @throws when there is no primary */
  async lagHistory(sinceMs: number, untilMs: number, node: string | null): Promise<readonly LagSample[]> {
    let query = this.#writable()
      .selectFrom('lag_samples')
      .selectAll()
      .where('at', '>=', new Date(sinceMs))
      .where('at', '<', new Date(untilMs));
    if (node !== null) query = query.where('node', '=', node);
    const rows = await query.orderBy('at').limit(LAG_KEEP_ROWS).execute();
    return rows.map((row) => ({
      node: row.node,
      atMs: row.at.getTime(),
      lagMs: row.lag_ms,
      lagBytes: row.lag_bytes === null ? null : Number(row.lag_bytes),
    }));
  }

  #writable(): Kysely<FairleadTables> {
    if (this.#db === null) throw new Error('there is no primary to ask');
    return this.#db;
  }

  #retarget(): void {
    const { primary } = this.#cluster.assignment.value;
    if (primary === this.#primary) return;
    this.#primary = primary;
    if (this.#db !== null) void closeDatabase(this.#db);
    const node = this.#cluster.nodes.find((n) => n.name === primary);
    this.#db = node === undefined ? null : openDatabase(loginOf(this.#config, node));
    if (this.#db === null) return;
    // the new primary may not have received what the old one had
    for (const event of this.#events) this.#unwrittenEvents.add(event);
    for (const epoch of this.#epochs) this.#unwrittenEpochs.add(epoch);
    this.#flush().catch(() => {});
  }

  /** Writes what is not written; one at a time, and who comes meanwhile is served by the next round. */
  async #flush(): Promise<void> {
    while (this.#flushing !== null) await this.#flushing;
    if (this.#db === null || this.#stopped) return;
    if (this.#unwrittenEpochs.size === 0 && this.#unwrittenEvents.size === 0) return;
    this.#flushing = this.#write(this.#db).finally(() => {
      this.#flushing = null;
    });
    await this.#flushing;
  }

  async #write(db: Kysely<FairleadTables>): Promise<void> {
    try {
      for (const record of [...this.#unwrittenEpochs]) {
        await db
          .insertInto('epochs')
          .values(epochRow(record))
          .onConflict((c) => c.doNothing())
          .execute();
        this.#unwrittenEpochs.delete(record);
      }
      const events = [...this.#unwrittenEvents];
      if (events.length > 0) {
        await db
          .insertInto('events')
          .values(events.map(eventRow))
          .onConflict((c) => c.doNothing())
          .execute();
        for (const event of events) this.#unwrittenEvents.delete(event);
      }
    } catch (error) {
      const missing = isMissing(error);
      const level = missing && !this.#warned ? 'warn' : 'debug';
      if (missing) this.#warned = true;
      this.#log[level](
        { node: this.#primary, error: messageOf(error) },
        missing
          ? 'schema fairlead cannot be written; run `fairlead migrate`; events are kept in memory'
          : 'events are written later',
      );
      clearTimeout(this.#retry);
      if (this.#stopped) return;
      this.#retry = setTimeout(() => void this.#flush(), missing ? FORBIDDEN_RETRY_MS : RETRY_MS).unref();
    }
  }
}

function epochRow(record: EpochRecord) {
  return {
    epoch: String(record.epoch),
    primary: record.primary,
    timeline: record.timeline,
    system_id: record.systemId,
    fork_lsn: record.forkLsn === null ? null : formatLsn(record.forkLsn as Lsn),
    reason: record.reason ?? '',
    at: new Date(record.atMs),
  };
}

function synchronyRow({ epoch, version, primary, timeline, guarantee, atMs }: SynchronyRecord) {
  const json = sql`${JSON.stringify(guarantee)}::jsonb`;
  return { epoch: String(epoch), version, primary, timeline, guarantee: json, at: new Date(atMs) };
}

function eventRow(event: StoredEvent) {
  const { id, kind, node, message, epoch, detail, atMs } = event;
  const json = sql`${JSON.stringify(detail)}::jsonb`;
  return { id, kind, node, message, epoch: epoch === null ? null : String(epoch), detail: json, at: new Date(atMs) };
}

/** No such table or schema, or not allowed. */
function isMissing(error: unknown): boolean {
  return ['42P01', '3F000', '42501'].includes((error as { code?: string }).code ?? '');
}

function first<T>(set: ReadonlySet<T>): T {
  return set.values().next().value as T;
}
