import { ControlConnection, ControlError, type ControlTarget } from '../backend/control-connection.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Observation, Subscription } from '../cluster/observation.ts';
import { nowMs, wallMsOf } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { LSN_ZERO, type Lsn, maxLsn, parseLsn } from '../core/lsn.ts';
import { Allegiance } from './allegiance.ts';
import { ClockOffset } from './clock-offset.ts';
import { SubscribedTables } from './subscribed-tables.ts';
import { type PublisherRow, positionSql, publisherSql, type SubscriberRow, subscriberSql } from './subscriber-probe.ts';

/** From here on workers may apply transactions beside each other without waiting for their order: `latest_end_lsn` would not tell. */
const PARALLEL_UNKNOWN = 190_000;

type Position = { readonly worker: string | null; readonly appliedLsn: Lsn; readonly progressLsn: Lsn };

/** Of the primary's answer, and the assignment that it is the answer to. */
type Published = PublisherRow & { readonly assignedTimeline: number };

/**
 * Asks a logical subscriber how it is, and the primary about what it gets. A question to the primary stands between two to the subscriber: the worker that
 * was there before and after is the one that receives from the primary's slot.
 */
export class SubscriberProber {
  readonly node: string;
  readonly #subscription: string;
  readonly #cluster: Cluster;
  readonly #target: (node: string) => ControlTarget;
  readonly #connection: ControlConnection;
  readonly #timeoutMs: number;
  readonly #log: Log;
  readonly #clock = new ClockOffset();
  readonly #allegiance = new Allegiance();
  readonly #tables = new SubscribedTables();
  #publisher: { readonly node: string; readonly connection: ControlConnection; version: number } | null = null;
  /** Nothing that it has shown on that timeline is later. */
  #reach: { readonly timeline: number; readonly lsn: Lsn } = { timeline: 0, lsn: LSN_ZERO };
  #version = 0;
  #sequence = 0;
  #running: Promise<void> | null = null;
  #stopped = false;

  constructor(
    node: string,
    subscription: string,
    cluster: Cluster,
    target: (node: string) => ControlTarget,
    options: { timeoutMs: number; log: Log },
  ) {
    this.node = node;
    this.#subscription = subscription;
    this.#cluster = cluster;
    this.#target = target;
    this.#connection = new ControlConnection(target(node), 'fairlead-probe');
    this.#timeoutMs = options.timeoutMs;
    this.#log = options.log;
  }

  /** One probe; joins the one that is under way. Never rejects. */
  probe(): Promise<void> {
    this.#running ??= this.#probe().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** Gives up the probe that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#connection.close();
    this.#publisher?.connection.close();
    await this.#running;
  }

  async #probe(): Promise<void> {
    const { observations } = this.#cluster;
    const sequence = ++this.#sequence;
    const startedMs = nowMs();
    const failing = observations.of(this.node).failure;
    try {
      const seen = await this.#look(sequence, startedMs);
      if (this.#stopped) return;
      observations.record(seen);
      if (failing !== null) this.#log.info({ node: this.node }, 'node answers again');
    } catch (error) {
      this.#version = 0;
      if (this.#stopped) return;
      const { kind, message } =
        error instanceof ControlError ? error : { kind: 'sql' as const, message: String(error) };
      observations.recordFailure({ node: this.node, sequence, startedMs, finishedMs: nowMs(), kind, message });
      if (failing?.kind !== kind) this.#log.warn({ node: this.node, kind, error: message }, 'node does not answer');
    }
  }

  async #look(sequence: number, startedMs: number): Promise<Observation> {
    this.#version ||= await versionOf(this.#connection, this.#timeoutMs);
    const askedMs = nowMs();
    const [row] = await this.#connection.query<SubscriberRow>(
      subscriberSql(this.#subscription, this.#version),
      [],
      this.#timeoutMs,
    );
    if (row === undefined) throw new Error('no answer');
    const clockOffsetMs = this.#clock.add(row.clock_ms, wallMsOf(askedMs), wallMsOf(nowMs()));
    const before = await this.#position();
    const published = row.subscription === null ? null : await this.#published(row);
    const after = await this.#position();
    const worker = before.worker === after.worker ? after.worker : null;
    const subscription = this.#judge(row, published, { ...after, worker });
    return {
      node: this.node,
      sequence,
      startedMs,
      finishedMs: nowMs(),
      role: 'subscriber',
      systemId: row.system_id,
      timeline: subscription.obstacle === null ? this.#cluster.assignment.value.timeline : 0,
      version: this.#version,
      replayLsn: after.appliedLsn,
      receiveLsn: after.appliedLsn,
      replayPaused: row.subscription !== null && !row.enabled,
      receiver: null,
      clockOffsetMs,
      walLevel: row.wal_level,
      readOnly: false,
      subscription,
    };
  }

  async #position(): Promise<Position> {
    const rows = await this.#connection.query<Record<string, string | null>>(
      `SELECT * FROM (${positionSql(this.#subscription)}) p (worker, applied, progress)`,
      [],
      this.#timeoutMs,
    );
    const { worker = null, applied, progress } = rows[0] ?? {};
    const lsn = (text: string | null | undefined) => (text ? parseLsn(text) : LSN_ZERO);
    return { worker, appliedLsn: lsn(applied), progressLsn: lsn(progress) };
  }

  /** @returns null when nobody is primary, or does not answer */
  async #published(row: SubscriberRow): Promise<Published | null> {
    const { primary, epoch } = this.#cluster.assignment.value;
    if (primary === null) return null;
    if (this.#publisher?.node !== primary) {
      this.#publisher?.connection.close();
      this.#publisher = {
        node: primary,
        connection: new ControlConnection(this.#target(primary), 'fairlead-probe'),
        version: 0,
      };
    }
    const publisher = this.#publisher;
    try {
      publisher.version ||= await versionOf(publisher.connection, this.#timeoutMs);
      const rows = await publisher.connection.query<PublisherRow>(
        publisherSql(publisher.version),
        [row.slot, row.publications],
        this.#timeoutMs,
      );
      const now = this.#cluster.assignment.value;
      const [answer] = rows;
      if (answer === undefined || now.epoch !== epoch || now.primary !== primary) return null;
      return answer.timeline === now.timeline ? { ...answer, assignedTimeline: now.timeline } : null;
    } catch (error) {
      publisher.version = 0;
      this.#log.debug({ node: this.node, primary, error: String(error) }, 'what is published is not known');
      return null;
    }
  }

  #judge(row: SubscriberRow, published: Published | null, { worker, appliedLsn, progressLsn }: Position): Subscription {
    const { forks, timeline } = this.#cluster.assignment.value;
    const last = this.#cluster.observations.of(this.node).last;
    const known = last?.subscription;
    const same =
      known !== undefined && known.obstacle === null && last?.timeline === timeline && known.worker === worker;
    const reachLsn = this.#reached(row, timeline, maxLsn(appliedLsn, progressLsn));
    const not = (obstacle: string): Subscription => ({ ...NOTHING, obstacle, worker, reachLsn });
    const { schema, lastChangeOfAll } = this.#cluster.freshness;

    if (published === null) {
      const obstacle = this.#unsound(row);
      if (obstacle !== null || worker === null) return not(obstacle ?? 'its subscription has no apply worker');
      return same ? { ...known, reachLsn } : not('the primary has not told what it gets');
    }
    const allegiance = this.#allegiance.judge({
      subscription: row.subscription ?? '',
      timeline: published.assignedTimeline,
      forks,
      appliedLsn,
      progressLsn,
      connected: worker !== null && published.active === true,
      confirmedLsn: published.confirmed === null ? null : parseLsn(published.confirmed),
    });
    const obstacle = this.#unsound(row) ?? allegiance;
    if (obstacle !== null) return not(obstacle);
    if (row.surroundings !== published.surroundings) {
      return not('its encoding, collation, settings, or settings of roles differ from those of the primary');
    }
    const compared = this.#tables.compare(row.subscription ?? '', row.tables, published.tables);
    const schemaVersion = schema.live && schema.shows(published.snapshot) ? schema.version : -1;
    // a comparison that still holds is not later than the stream, as a new one may be for a moment
    const holds =
      same &&
      known.schemaVersion === schemaVersion &&
      known.comparedLsn >= lastChangeOfAll &&
      known.tables.size === compared.tables.size &&
      [...compared.tables].every((oid) => known.tables.has(oid));
    const comparedLsn = holds ? known.comparedLsn : parseLsn(published.lsn);
    return { ...compared, obstacle: null, worker, reachLsn, schemaVersion, comparedLsn };
  }

  /** What was copied with a table may be later than what was applied; and a new worker begins to count anew. */
  #reached({ tables }: SubscriberRow, timeline: number, now: Lsn): Lsn {
    const copied = tables.map((table) => (table.copied === null ? LSN_ZERO : parseLsn(table.copied)));
    const before = this.#reach.timeline === timeline ? this.#reach.lsn : LSN_ZERO;
    const lsn = [before, ...copied].reduce(maxLsn, now);
    this.#reach = { timeline, lsn };
    return lsn;
  }

  /** Why its position would say nothing. */
  #unsound(row: SubscriberRow): string | null {
    const { systemId } = this.#cluster.assignment.value;
    if (row.subscription === null) return `it has no subscription ${this.#subscription} in this database`;
    if (row.in_recovery) return 'it is a replica';
    if (systemId !== null && row.system_id === systemId) return 'it is a server of this cluster, no subscriber';
    if (!row.enabled) return 'its subscription is disabled';
    if (!row.any_origin) return 'its subscription leaves out what comes from other origins';
    if (row.skips) return 'its subscription skips a transaction';
    if (/^p/.test(row.streams) && this.#version >= PARALLEL_UNKNOWN) return 'its subscription streams in parallel';
    return null;
  }
}

const NOTHING = { tables: new Set<number>(), schemaVersion: -1, comparedLsn: LSN_ZERO, leftOut: [] };

async function versionOf(connection: ControlConnection, timeoutMs: number): Promise<number> {
  const [row] = await connection.query<{ version: number }>(
    "SELECT current_setting('server_version_num')::int AS version",
    [],
    timeoutMs,
  );
  return row?.version ?? 0;
}
