import { type ControlConnection, ControlError } from '../backend/control-connection.ts';
import type { Observations } from '../cluster/observations.ts';
import { nowMs, wallMsOf } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { ClockOffset } from './clock-offset.ts';
import { observationOf, PROBE_SQL, type ProbeRow, RECEIVED_TIMELINE_SQL } from './probe.ts';

/** Asks one node how it is; each answer or failure is one record in the table of observations. */
export class Prober {
  readonly node: string;
  readonly #connection: ControlConnection;
  readonly #observations: Observations;
  readonly #timeoutMs: number;
  readonly #log: Log;
  readonly #clock = new ClockOffset();
  #sequence = 0;
  #running: Promise<void> | null = null;
  #stopped = false;
  /** Of the server's last answer: which run of it, and what timeline it told. */
  #startedAt = 0;
  #timeline = 0;

  constructor(
    node: string,
    connection: ControlConnection,
    observations: Observations,
    options: { timeoutMs: number; log: Log },
  ) {
    this.node = node;
    this.#connection = connection;
    this.#observations = observations;
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
    await this.#running;
  }

  async #probe(): Promise<void> {
    const sequence = ++this.#sequence;
    const startedMs = nowMs();
    const failing = this.#observations.of(this.node).failure;
    try {
      const rows = await this.#connection.query<ProbeRow>(PROBE_SQL, [], this.#timeoutMs);
      const finishedMs = nowMs();
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
      this.#observations.recordFailure({ node: this.node, sequence, startedMs, finishedMs: nowMs(), kind, message });
      if (failing?.kind !== kind) this.#log.warn({ node: this.node, kind, error: message }, 'node does not answer');
    }
  }
}
