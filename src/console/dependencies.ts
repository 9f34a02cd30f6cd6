/** What the console needs from the other parts. `app.ts` hands it over. */
import type { EventSource, Operations, ReplicationSource, TrafficSource } from '../api/sources.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Config } from '../config/config.ts';
import type { Change } from '../config/difference.ts';
import type { Log } from '../core/log.ts';
import type { Statistics } from '../frontend/statistics.ts';
import type { Plane } from '../plane/plane.ts';

export type ConsoleDependencies = {
  readonly version: string;
  readonly cluster: Cluster;
  readonly plane: Pick<Plane, 'overview' | 'refresh' | 'clients' | 'servers' | 'pools' | 'processes' | 'order'>;
  readonly statistics: Pick<Statistics, 'databases'>;
  readonly traffic: TrafficSource;
  readonly replication: ReplicationSource;
  readonly events: Pick<EventSource, 'list'>;
  readonly operations: Operations;
  readonly log: Log;
  config(): Config;
  /**
   * Reads the configuration again and applies what may change while running.
   * @throws FairleadError `bad_config`; then nothing was applied
   */
  reload(): Promise<readonly Change[]>;
  /** True for what PgBouncer would call a setting. */
  isSetting(key: string): boolean;
  /**
   * Changes one key until the next reload.
   * @throws FairleadError `bad_parameter`
   */
  set(key: string, value: string): readonly Change[];
  /** Ends the program: at once, when open transactions are done, or when all clients have left. Returns at once. */
  shutDown(mode: 'now' | 'drain' | 'wait'): void;
};
