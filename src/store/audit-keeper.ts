import type { Cluster } from '../cluster/cluster.ts';
import type { AuditViolation } from '../cluster/read-audit.ts';
import { nowMs, wallMs } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { formatLsn } from '../core/lsn.ts';
import type { Store } from './store.ts';

/** Violations come in crowds; one event in this time tells of them. */
const PAUSE_MS = 10_000;

/** Writes an event when a read on a replica saw less than it must have. */
export class AuditKeeper {
  readonly #cluster: Cluster;
  readonly #store: Pick<Store, 'recordEvent'>;
  readonly #log: Log;
  #unsubscribe: () => void = () => {};
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(cluster: Cluster, store: Pick<Store, 'recordEvent'>, log: Log) {
    this.#cluster = cluster;
    this.#store = store;
    this.#log = log;
  }

  start(): void {
    this.#unsubscribe = this.#cluster.audit.onViolation((violation) => this.#tell(violation));
  }

  stop(): void {
    this.#unsubscribe();
  }

  #tell({ node, replayed, floor, names, why }: AuditViolation): void {
    if (nowMs() - this.#toldMs < PAUSE_MS) return;
    this.#toldMs = nowMs();
    const detail = { node, replayed: formatLsn(replayed), floor: formatLsn(floor), reads: names, why };
    const message = `a read on ${node} saw less than it must have: ${why}`;
    this.#log.error({ event: 'audit-violation', ...detail }, message);
    this.#store
      .recordEvent({ kind: 'audit-violation', message, node, detail, atMs: wallMs() })
      .catch((error) => this.#log.info({ error: messageOf(error) }, 'event audit-violation is not stored yet'));
  }
}
