import type { ConsoleDependencies } from './dependencies.ts';

/** Clients of a database, of a user, or of both; null: any. */
export function clientsOf({ plane }: ConsoleDependencies, database: string | null, user: string | null): number {
  let sum = 0;
  for (const place of plane.overview.places) {
    if (database !== null && place.database !== database) continue;
    if (user === null || place.user === user) sum += place.clients;
  }
  return sum;
}
