import type { ControlTarget } from '../backend/control-connection.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { Backoff } from '../core/backoff.ts';
import { nowMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { endOfLastRecord, parseLsn } from '../core/lsn.ts';
import { PositionConnection } from './position-connection.ts';

/** Fails in recovery (SQLSTATE 55000), which is right: a replica has nothing to say about what the primary wrote. */
const SAMPLE_SQL = `SELECT p.lsn, pg_walfile_name(p.lsn), current_setting('wal_block_size'),
  pg_size_bytes(current_setting('wal_segment_size')) FROM (SELECT pg_current_wal_insert_lsn() AS lsn) p`;

/**
 * Takes samples of the primary's insert position when somebody wants one: at most one is out, and whoever comes meanwhile shares the
 * next. A sample of a primary that is no longer assigned, or on another timeline than the assigned one, counts as failed.
 */
export class PrimarySampler {
  readonly #cluster: Cluster;
  readonly #target: (node: string) => ControlTarget;
  readonly #log: Log;
  readonly #backoff = new Backoff(5, 200);
  #connection: PositionConnection | null = null;
  #node: string | null = null;
  #busy = false;
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;
  #unsubscribe: () => void = () => {};

  constructor(cluster: Cluster, target: (node: string) => ControlTarget, log: Log) {
    this.#cluster = cluster;
    this.#target = target;
    this.#log = log;
  }

  start(): void {
    this.#cluster.samples.onDemand(() => this.#wake());
    this.#unsubscribe = this.#cluster.assignment.subscribe(() => {
      if (this.#sampled() !== this.#node) this.#drop();
      this.#wake();
    });
    this.#wake();
  }

  stop(): void {
    this.#stopped = true;
    this.#cluster.samples.onDemand(() => {});
    this.#unsubscribe();
    clearTimeout(this.#retry);
    this.#drop();
  }

  expire(beforeMs: number): void {
    this.#connection?.expire(beforeMs);
  }

  #drop(): void {
    this.#connection?.close();
    this.#connection = null;
    this.#node = null;
  }

  /** While a primary hands over nobody else has written: reads go on from replicas that have what it has. */
  #sampled(): string | null {
    const { primary, handingOver } = this.#cluster.assignment.value;
    return primary ?? handingOver;
  }

  #wake(): void {
    if (this.#busy || this.#stopped || this.#retry !== undefined || !this.#cluster.samples.wanted) return;
    const primary = this.#sampled();
    if (primary === null) return;
    this.#busy = true;
    void this.#take(primary);
  }

  async #take(primary: string): Promise<void> {
    const { samples, assignment } = this.#cluster;
    const { epoch } = assignment.value;
    if (this.#connection === null || this.#node !== primary) {
      this.#drop();
      this.#connection = new PositionConnection(this.#target(primary), SAMPLE_SQL);
      this.#node = primary;
    }
    const index = samples.start();
    try {
      const [lsn, walFile, blockBytes, segmentBytes] = (await this.#connection.ask()) as string[];
      this.#busy = false;
      const timeline = Number.parseInt((walFile as string).slice(0, 8), 16);
      const now = assignment.value;
      if (now.epoch !== epoch || (now.timeline !== 0 && now.timeline !== timeline)) {
        throw new Error(`sampled ${primary} on timeline ${timeline}, which is not the assigned primary's any more`);
      }
      this.#backoff.reset();
      this.#cluster.life.note(primary, nowMs(), 'it told its position');
      samples.complete(
        index,
        timeline,
        endOfLastRecord(parseLsn(lsn as string), Number(blockBytes), Number(segmentBytes)),
      );
      this.#wake();
    } catch (error) {
      this.#busy = false;
      if (this.#stopped) return;
      samples.fail();
      this.#log.debug({ node: primary, error: messageOf(error) }, 'no sample of the primary');
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.#wake();
      }, this.#backoff.next());
    }
  }
}
