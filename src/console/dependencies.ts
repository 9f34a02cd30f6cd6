/** What the console needs from the other parts. `app.ts` hands it over. */
import type { EventSource, Operations, ReplicationSource } from '../api/sources.ts';
import type { Pools } from '../backend/pools.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Config } from '../config/config.ts';
import type { Log } from '../core/log.ts';
import type { HoldRoom } from '../frontend/hold-room.ts';
import type { Sessions } from '../frontend/sessions.ts';
import type { Traffic } from '../frontend/traffic.ts';

export type ConsoleDependencies = {
  readonly version: string;
  readonly cluster: Cluster;
  readonly pools: Pick<Pools, 'all'>;
  readonly sessions: Pick<Sessions, 'all' | 'size'>;
  readonly holdRoom: Pick<HoldRoom, 'size'>;
  readonly traffic: Pick<Traffic, 'snapshot' | 'histograms'>;
  readonly replication: ReplicationSource;
  readonly events: Pick<EventSource, 'list'>;
  readonly operations: Operations;
  readonly log: Log;
  config(): Config;
  /**
   * Reads the configuration again and applies what may change while running.
   * @returns one sentence for each thing the operator should know
   * @throws FairleadError `bad_config`; then nothing was applied
   */
  reload(): Promise<readonly string[]>;
};
