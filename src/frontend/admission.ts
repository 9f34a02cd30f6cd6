import type { Config } from '../config/config.ts';
import { databaseEntry, userEntry } from '../config/pool-settings.ts';
import { FairleadError } from '../core/errors.ts';
import type { ClientCounts } from './client-counts.ts';
import type { Limits } from './neighbours.ts';
import type { Services } from './services.ts';
import type { Sessions, Where } from './sessions.ts';

/**
 * Whether one more client may connect at all.
 * @param clients connections when it came, its own included
 * @param then called with why not, or null; at once where nobody else has to be asked
 */
export function ifRoom(
  { config, neighbours }: Services,
  clients: number,
  then: (refusal: FairleadError | null) => void,
): void {
  const judge = (count: number) => {
    const crowded = count > config().pool.max_clients;
    then(crowded ? new FairleadError('too_many_clients', 'sorry, too many clients already') : null);
  };
  // of those that were there when it came some may have left
  if (neighbours.count > 1 && clients > config().pool.max_clients) neighbours.clients(judge);
  else judge(clients);
}

/** Why a client that has proved who it is may not come in now; null when it may, as far as this process knows. */
export function refusalOf(services: Services, sessions: Sessions, where: Where): FairleadError | null {
  const { config, cluster, lifecycle, neighbours } = services;
  const { database } = where;
  if (lifecycle.state !== 'serving') return new FairleadError('not_accepting', 'fairlead is shutting down');
  if (cluster.operator.value.disabledDatabases.has(database)) {
    return new FairleadError('database_disabled', `database "${database}" is disabled`);
  }
  if (neighbours.count > 1) return null;
  const limits = limitsOf(config(), where);
  const reached = limitReached(sessions.counts, where, limits);
  return reached === null ? null : tooMany(reached, where, limits);
}

export function limitsOf(config: Config, { database, user }: Where): Limits {
  return {
    database: databaseEntry(config, database)?.max_clients ?? config.pool.max_database_clients,
    user: userEntry(config, user)?.max_clients ?? config.pool.max_user_clients,
  };
}

/** Which limit lets nobody else in; null: none. */
export function limitReached(
  counts: Pick<ClientCounts, 'of'>,
  { database, user }: Where,
  limits: Limits,
): keyof Limits | null {
  if (limits.database > 0 && counts.of(database, null) >= limits.database) return 'database';
  if (limits.user > 0 && counts.of(null, user) >= limits.user) return 'user';
  return null;
}

export function tooMany(reached: keyof Limits, where: Where, limits: Limits): FairleadError {
  const text = `too many clients for ${reached} "${where[reached]}": ${limits[reached]} are allowed`;
  const remedy = `raise max_clients of the ${reached}, or close idle connections`;
  return new FairleadError('too_many_clients', text, remedy);
}
