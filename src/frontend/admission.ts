import { databaseEntry, userEntry } from '../config/pool-settings.ts';
import { FairleadError } from '../core/errors.ts';
import type { Services } from './services.ts';
import type { Sessions } from './sessions.ts';

/** Why a client that has proved who it is may not come in now; null when it may. */
export function refusalOf(
  { config, cluster, lifecycle }: Services,
  sessions: Sessions,
  database: string,
  user: string,
): FairleadError | null {
  if (lifecycle.state !== 'serving') return new FairleadError('not_accepting', 'fairlead is shutting down');
  if (cluster.operator.value.disabledDatabases.has(database)) {
    return new FairleadError('database_disabled', `database "${database}" is disabled`);
  }
  const now = config();
  const perDatabase = databaseEntry(now, database)?.max_clients ?? now.pool.max_database_clients;
  if (perDatabase > 0 && sessions.countOf(database, null) >= perDatabase) {
    const text = `too many clients for database "${database}": ${perDatabase} are allowed`;
    return new FairleadError('too_many_clients', text, 'raise max_clients of the database, or close idle connections');
  }
  const perUser = userEntry(now, user)?.max_clients ?? now.pool.max_user_clients;
  if (perUser > 0 && sessions.countOf(null, user) >= perUser) {
    const text = `too many clients for user "${user}": ${perUser} are allowed`;
    return new FairleadError('too_many_clients', text, 'raise max_clients of the user, or close idle connections');
  }
  return null;
}
