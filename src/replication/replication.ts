/** Follows the assigned primary's logical stream and writes commits and table freshness into the model; the only writer of both. */
import { ControlConnection, type ControlTarget } from '../backend/control-connection.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { type Config, followsOthers, type NodeConfig } from '../config/config.ts';
import { Backoff } from '../core/backoff.ts';
import { nowMs, wallMsOf } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { LSN_ZERO, type Lsn, lsn, maxLsn, parseLsn } from '../core/lsn.ts';
import { Signal } from '../core/signal.ts';
import type { CommitBatch, StreamMessage } from './commit-batch.ts';
import { DdlWatch } from './ddl-watch.ts';
import { beat, heartbeatDue } from './heartbeat.ts';
import { recordBatch } from './record-batch.ts';
import { RelationNames } from './relation-names.ts';
import { Stream } from './stream.ts';
import { NOT_LOGICAL, type StreamFault, streamFault } from './stream-fault.ts';

export type ReplicationState = {
  /** `connecting` and `polling` both live on the probes' positions; `polling` will until somebody does what `lastError` says. */
  readonly mode: 'streaming' | 'polling' | 'connecting';
  readonly slot: string | null;
  /** Everything that committed up to here was told. */
  readonly receivedLsn: Lsn;
  /** Commits recorded since the start. */
  readonly commits: number;
  readonly lastError: string | null;
};

export type ReplicationOptions = {
  readonly config: Config;
  readonly log: Log;
  target(node: NodeConfig): ControlTarget;
  /** DDL was committed. */
  schemaChanged?(): void;
};

const TICK_MS = 1000;

/** What needs an operator is tried again at this pace. */
const PERMANENT_RETRY_MS = 30_000;

/** A stream that is this far behind the primary's flush position is helped by the probes. */
const STALL_MS = 2000;

/** A slot that takes longer to make gets a word about why. */
const SLOW_START_MS = 10_000;

const NOTHING: ReplicationState = {
  mode: 'connecting',
  slot: null,
  receivedLsn: LSN_ZERO,
  commits: 0,
  lastError: null,
};

export class Replication {
  readonly state = new Signal<ReplicationState>(NOTHING);
  readonly #cluster: Cluster;
  readonly #user: string;
  readonly #log: Log;
  readonly #targetOf: (node: NodeConfig) => ControlTarget;
  readonly #schemaChanged: (() => void) | undefined;
  readonly #backoff = new Backoff(100, 5000);
  #stopped = false;
  #unsubscribes: (() => void)[] = [];
  #tickTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  /** What is followed: primary, timeline and epoch; empty for nothing yet. */
  #following = '';
  #target: ControlTarget | null = null;
  #catalog: ControlConnection | null = null;
  #names: RelationNames | null = null;
  #stream: Stream | null = null;
  #streaming = false;
  /** Of the stream that goes on now. */
  #ddl: DdlWatch | null = null;
  #received: Lsn = LSN_ZERO;
  #connectingMs = 0;
  #lastError: string | null = null;
  #permanent = false;
  #beatMs = 0;
  #beating = false;
  /** Where the primary was at the last tick. */
  #tickLsn: Lsn = LSN_ZERO;
  /** The primary's flush position that the stream has yet to reach, and since when. */
  #ahead: { readonly lsn: Lsn; readonly wallMs: number; readonly seenMs: number } | null = null;

  constructor(cluster: Cluster, options: ReplicationOptions) {
    this.#cluster = cluster;
    // whoever promotes nobody loses nothing
    cluster.kept.budgetBytes = followsOthers(options.config) ? 0 : options.config.failover.keep_rows;
    this.#user = options.config.cluster.user;
    this.#log = options.log;
    this.#targetOf = options.target;
    this.#schemaChanged = options.schemaChanged?.bind(options);
  }

  start(): void {
    this.#unsubscribes = [
      this.#cluster.assignment.subscribe(() => this.#retarget()),
      this.#cluster.observations.subscribe((node) => this.#observed(node)),
    ];
    this.#tickTimer = setInterval(() => this.#tick(), TICK_MS);
    this.#retarget();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const unsubscribe of this.#unsubscribes) unsubscribe();
    clearInterval(this.#tickTimer);
    await this.#drop();
  }

  /** Follows another primary, or the same one on another timeline. While there is none, the old stream is read to its end. */
  #retarget(): void {
    const { primary, timeline, epoch } = this.#cluster.assignment.value;
    const following = `${primary} ${timeline} ${epoch}`;
    if (this.#stopped || primary === null || following === this.#following) return;
    const node = this.#cluster.nodes.find((n) => n.name === primary);
    if (node === undefined) return;
    if (this.#following !== '') {
      // positions beyond the fork mean something else now
      this.#cluster.commits.reset();
      this.#cluster.recent.reset();
      this.#cluster.kept.reset();
      this.#cluster.freshness.reset(LSN_ZERO, timeline);
      this.#received = LSN_ZERO;
    }
    this.#following = following;
    void this.#drop();
    this.#target = this.#targetOf(node);
    this.#catalog = new ControlConnection(this.#target, 'fairlead-catalog');
    const { freshness } = this.#cluster;
    this.#names = new RelationNames(
      this.#catalog,
      (snapshot) => freshness.schema.shows(snapshot),
      (oid, name) => freshness.called(oid, name),
    );
    this.#permanent = false;
    this.#backoff.reset();
    this.#connect();
  }

  async #drop(): Promise<void> {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    const stream = this.#stream;
    this.#stream = null;
    this.#streaming = false;
    this.#ddl?.stop();
    this.#ddl = null;
    this.#ahead = null;
    this.#catalog?.close();
    this.#catalog = null;
    await stream?.stop();
  }

  #connect(): void {
    this.#retryTimer = undefined;
    const target = this.#target;
    if (this.#stopped || target === null) return;
    const { last, failure } = this.#cluster.observations.of(target.name);
    if (last !== null && failure === null && last.walLevel !== 'logical') {
      this.#failed(NOT_LOGICAL);
      return;
    }
    // a thread per attempt is worth it only where somebody answers
    if (failure !== null) {
      this.#failed({ permanent: false, message: failure.message, fix: null });
      return;
    }
    const stream = new Stream(target, this.#cluster.kept.transactionBytes, (message) => {
      if (this.#stream === stream) this.#hear(message);
    });
    this.#stream = stream;
    this.#connectingMs = nowMs();
    this.#publish();
  }

  #hear(message: StreamMessage): void {
    if (message.kind === 'commits') this.#record(message);
    else if (message.kind === 'heard') this.#heard();
    else if (message.kind === 'position') this.#receive(lsn(message.lsn));
    else if (message.kind === 'started') this.#started(parseLsn(message.consistentLsn), message.encoding);
    else {
      void this.#stream?.stop();
      this.#stream = null;
      this.#failed(streamFault(message.sqlState, message.message, this.#user));
    }
  }

  #heard(): void {
    if (this.#target !== null) this.#cluster.life.note(this.#target.name, nowMs(), 'its logical stream goes on');
  }

  /** What committed before the slot existed was not told: it may have changed everything. */
  #started(consistentLsn: Lsn, encoding: string): void {
    this.#streaming = true;
    this.#lastError = null;
    this.#permanent = false;
    this.#backoff.reset();
    this.#names?.reset();
    this.#cluster.recent.gap(consistentLsn);
    this.#cluster.kept.gap(consistentLsn);
    this.#cluster.kept.encoding = encoding;
    this.#cluster.freshness.reset(consistentLsn, this.#cluster.assignment.value.timeline);
    this.#receive(consistentLsn);
    this.#log.info({ node: this.#target?.name, slot: this.#stream?.slot }, 'following the logical stream');
    this.#publish();
    this.#ddl?.stop();
    this.#ddl = new DdlWatch(this.#catalog as ControlConnection, this.#cluster, this.#log, () =>
      this.#schemaChanged?.(),
    );
    this.#ddl.look();
  }

  #failed(fault: StreamFault): void {
    const { permanent, message, fix } = fault;
    const wasStreaming = this.#streaming;
    this.#ddl?.stop();
    this.#ddl = null;
    const news = this.#lastError === null || (permanent && !this.#permanent);
    this.#streaming = false;
    this.#permanent = permanent;
    this.#lastError = fix === null ? message : `${message}; fix: ${fix}`;
    const fields = { node: this.#target?.name, error: message, fix };
    if (permanent && news) {
      this.#log.warn(
        fields,
        'NO LOGICAL STREAM: commits are polled, milliseconds of lag are exact to cluster.probe_interval only',
      );
    } else if (wasStreaming || news) this.#log.warn(fields, 'the logical stream ended; connecting again');
    if (!this.#stopped) {
      clearTimeout(this.#retryTimer);
      this.#retryTimer = setTimeout(() => this.#connect(), permanent ? PERMANENT_RETRY_MS : this.#backoff.next());
    }
    this.#publish();
  }

  #record(batch: CommitBatch): void {
    const names = this.#names;
    const ddl = this.#ddl;
    if (names === null || ddl === null) return;
    const schema = this.#cluster.freshness.schema.version;
    recordBatch(batch, this.#cluster, names, ddl);
    if (this.#cluster.freshness.schema.version !== schema) this.#schemaChanged?.();
    names.resolve().catch((error) => this.#log.debug({ error: messageOf(error) }, 'names of tables not resolved'));
  }

  #receive(position: Lsn): void {
    this.#received = maxLsn(this.#received, position);
    this.#cluster.freshness.toldUntil(this.#received);
  }

  /** Each probe of the primary: what its flush position bounds where the stream does not tell, or not yet. */
  #observed(node: string): void {
    this.#cluster.kept.release(this.#cluster.receivedByAll());
    if (node !== this.#target?.name || node !== this.#cluster.assignment.value.primary) return;
    const { last, failure } = this.#cluster.observations.of(node);
    if (failure !== null && this.#stream !== null && !this.#streaming) {
      // nothing watches a stream that has not begun: it would wait for a dead connection for good
      void this.#stream.stop();
      this.#stream = null;
      this.#failed({ permanent: false, message: failure.message, fix: null });
    }
    // a walsender that answers proves more than a probe that does not
    if (failure !== null && this.#streaming) this.#stream?.ping();
    if (last === null || failure !== null || last.role !== 'primary') return;
    const { timeline } = this.#cluster.assignment.value;
    if (timeline !== 0 && last.timeline !== timeline) return;
    // flushed, not inserted: no replica can have more
    const position = last.receiveLsn;
    const wallMs = wallMsOf(last.startedMs) + last.clockOffsetMs;
    if (!this.#streaming) {
      this.#cluster.commits.record(position, wallMs);
      this.#cluster.freshness.touchAll(position);
      return;
    }
    if (this.#ahead !== null && this.#received < this.#ahead.lsn) {
      if (last.startedMs - this.#ahead.seenMs < STALL_MS) return;
      // the decoder is busy, with a bulk load for example; lag must not look better for it
      this.#cluster.commits.record(this.#ahead.lsn, this.#ahead.wallMs);
    }
    this.#ahead = { lsn: position, wallMs, seenMs: last.startedMs };
  }

  #tick(): void {
    if (
      this.#stream !== null &&
      !this.#streaming &&
      nowMs() - this.#connectingMs > SLOW_START_MS &&
      this.#lastError === null
    ) {
      this.#lastError =
        'the slot waits for transactions to end that were open before it; see pg_stat_activity.xact_start';
      this.#log.warn({ node: this.#target?.name }, this.#lastError);
    }
    this.#publish();
    const catalog = this.#catalog;
    const target = this.#target;
    if (catalog === null || target === null || this.#beating) return;
    if (target.name !== this.#cluster.assignment.value.primary) return;
    const { last, failure } = this.#cluster.observations.of(target.name);
    if (last === null || failure !== null || last.role !== 'primary') return;
    const moved = last.replayLsn > this.#cluster.commits.newestLsn;
    const written = last.replayLsn !== this.#tickLsn;
    this.#tickLsn = last.replayLsn;
    if (written || this.#ddl?.markedFrom === null) void this.#ddl?.tick(nowMs());
    const due = heartbeatDue({
      sinceLastMs: nowMs() - this.#beatMs,
      moved,
      waiting: this.#cluster.waiters.size > 0,
    });
    if (!due) return;
    this.#beating = true;
    this.#beatMs = nowMs();
    beat(catalog)
      .catch((error) => this.#log.debug({ error: messageOf(error) }, 'no heartbeat'))
      .finally(() => {
        this.#beating = false;
      });
  }

  #publish(): void {
    const next: ReplicationState = {
      mode: this.#streaming ? 'streaming' : this.#permanent ? 'polling' : 'connecting',
      slot: this.#streaming ? (this.#stream?.slot ?? null) : null,
      receivedLsn: this.#received,
      commits: this.#cluster.commits.commits,
      lastError: this.#lastError,
    };
    const now = this.state.value;
    if (
      now.mode === next.mode &&
      now.slot === next.slot &&
      now.receivedLsn === next.receivedLsn &&
      now.commits === next.commits &&
      now.lastError === next.lastError
    ) {
      return;
    }
    this.state.set(Object.freeze(next));
  }
}
