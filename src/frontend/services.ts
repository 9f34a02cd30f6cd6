import type { Catalogs } from '../backend/catalogs.ts';
import type { DatabaseWatch } from '../backend/database-watch.ts';
import type { LoginFactsReader } from '../backend/login-facts.ts';
import type { Notifications } from '../backend/notifications.ts';
import type { Pools } from '../backend/pools.ts';
import type { PreparedStatements } from '../backend/prepared-statement.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Config } from '../config/config.ts';
import type { Deadlines } from '../core/deadlines.ts';
import type { Log } from '../core/log.ts';
import type { CausalityKeys } from '../routing/causality-keys.ts';
import type { Patience } from '../routing/patience.ts';
import type { Classifier } from '../sql/classifier.ts';
import type { ClientTls } from '../transport/client-tls.ts';
import type { Access } from './access.ts';
import type { Credentials } from './credentials.ts';
import type { HoldRoom } from './hold-room.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { Neighbours } from './neighbours.ts';
import type { Sessions } from './sessions.ts';
import type { Traffic } from './traffic.ts';

/** What every session works with; made once, shared by all. */
export type Services = {
  readonly access: Access;
  readonly clientTls: ClientTls;
  readonly cluster: Cluster;
  readonly pools: Pools;
  readonly notifications: Notifications;
  readonly credentials: Credentials;
  readonly logins: LoginFactsReader;
  readonly databases: DatabaseWatch;
  readonly classifier: Classifier;
  readonly catalogs: Catalogs;
  readonly statements: PreparedStatements;
  readonly deadlines: Deadlines;
  readonly sessions: Sessions;
  readonly holdRoom: HoldRoom;
  readonly lifecycle: Lifecycle;
  readonly neighbours: Neighbours;
  readonly causalityKeys: CausalityKeys;
  readonly patience: Patience;
  readonly traffic: Traffic;
  /** Database and user of sessions that tell sequence values outside of the transaction that drew them. See `SequenceUse`. */
  readonly sequenceReaders: Set<string>;
  /** Database and user whose transactions are not READ COMMITTED by default, as servers say. See `MovableStart`. */
  readonly elsewhereIsolated: Set<string>;
  readonly log: Log;
  config(): Config;
};
