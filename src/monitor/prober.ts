import { type ControlConnection, ControlError } from '../backend/control-connection.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { LifeSigns } from '../cluster/life-signs.ts';
import type { Observations } from '../cluster/observations.ts';
import { nowMs, wallMsOf } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { ClockOffset } from './clock-offset.ts';
import { observationOf, PROBE_SQL, type ProbeRow, RECEIVED_TIMELINE_SQL } from './probe.ts';

type Overdue = { readonly connection: ControlConnection; readonly sinceMs: number };

/** Each takes a server connection of one that may be short of them. */
const OVERDUE_LIMIT = 2;
const OVERDUE_MS = 30_000;

/** Asks one node how it is; each answer or failure is one record in the table of observations. */
export class Prober {
  readonly node: string;
  readonly #open: () => ControlConnection;
  readonly #observations: Observations;
  readonly #life: LifeSigns;
  readonly #timeoutMs: number;
  readonly #log: Log;
  readonly #clock = new ClockOffset();
  #connection: ControlConnection;
  /** Connections on which an answer is overdue, the oldest first: one that comes after all shows an overloaded server to be alive. */
  #overdue: readonly Overdue[] = [];
  #sequence = 0;
  #running: Promise<void> | null = null;
  #stopped = false;
  /** Of the server's last answer: which run of it, and what timeline it told. */
  #startedAt = 0;
  #timeline = 0;

  constructor(
    node: string,
    open: () => ControlConnection,
    cluster: Pick<Cluster, 'observations' | 'life'>,
    options: { timeoutMs: number; log: Log },
  ) {
    this.node = node;
    this.#open = open;
    this.#connection = open();
    this.#observations = cluster.observations;
    this.#life = cluster.life;
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

  /** Asked where no receiver tells it, once in a run of the server: a receiver that comes later does. */
  async #receivedTimeline(): Promise<number> {
    try {
      const sql = RECEIVED_TIMELINE_SQL;
      const [row] = await this.#connection.query<{ timeline: number | null }>(sql, [], this.#timeoutMs);
      return row?.timeline ?? 0;
    } catch (error) {
      if (error instanceof ControlError && error.sqlState === null) throw error;
      // not for our role
      return 0;
    }
  }

  /** Gives up the probe that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#connection.close();
    this.#forget(() => true);
    await this.#running;
  }

  async #probe(): Promise<void> {
    const sequence = ++this.#sequence;
    const startedMs = nowMs();
    const failing = this.#observations.of(this.node).failure;
    const connection = this.#connection;
    const late = () => {
      this.#life.note(this.node, nowMs(), `it answered a probe after ${Math.round(nowMs() - startedMs)} ms`);
      this.#forget((overdue) => overdue.connection === connection);
    };
    try {
      const rows = await connection.query<ProbeRow>(PROBE_SQL, [], this.#timeoutMs, late);
      const finishedMs = nowMs();
      this.#forget(() => true);
      const row = rows[0] as ProbeRow;
      if (row.started_at !== this.#startedAt) {
        this.#timeline = row.in_recovery && row.receiver_pid === null ? await this.#receivedTimeline() : 0;
      }
      if (this.#stopped) return;
      this.#startedAt = row.started_at;
      const clockOffsetMs = this.#clock.add(row.clock_ms, wallMsOf(startedMs), wallMsOf(finishedMs));
      const seen = observationOf(row, {
        node: this.node,
        sequence,
        startedMs,
        finishedMs,
        clockOffsetMs,
        timelineBefore: this.#timeline,
      });
      this.#timeline = seen.timeline;
      this.#observations.record(seen);
      if (failing !== null) this.#log.info({ node: this.node }, 'node answers again');
    } catch (error) {
      if (this.#stopped) return;
      const { kind, message } =
        error instanceof ControlError ? error : { kind: 'sql' as const, message: String(error) };
      if (kind === 'hung') this.#setAside(connection, startedMs);
      this.#observations.recordFailure({ node: this.node, sequence, startedMs, finishedMs: nowMs(), kind, message });
      if (failing?.kind !== kind) this.#log.warn({ node: this.node, kind, error: message }, 'node does not answer');
    }
  }
  /** The next probe asks on a new connection; this one may still answer, unless enough others are waited for. */
  #setAside(connection: ControlConnection, sinceMs: number): void {
    this.#forget((overdue) => sinceMs - overdue.sinceMs > OVERDUE_MS);
    if (this.#overdue.length < OVERDUE_LIMIT) this.#overdue = [...this.#overdue, { connection, sinceMs }];
    else connection.close();
    this.#connection = this.#open();
  }

  #forget(which: (overdue: Overdue) => boolean): void {
    for (const overdue of this.#overdue) if (which(overdue)) overdue.connection.close();
    this.#overdue = this.#overdue.filter((overdue) => !which(overdue));
  }
}
