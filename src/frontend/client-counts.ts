/** Clients of one database and user. */
export type Place = { readonly database: string; readonly user: string; readonly clients: number };

/** How many clients there are, per database, per user, and per both. */
export class ClientCounts {
  readonly #counts = new Map<string, number>();

  add(database: string, user: string, change: number): void {
    for (const key of [keyOf(database, null), keyOf(null, user), keyOf(database, user)]) {
      const count = (this.#counts.get(key) ?? 0) + change;
      if (count === 0) this.#counts.delete(key);
      else this.#counts.set(key, count);
    }
  }

  /** @param database null: any; `user` likewise, not both */
  of(database: string | null, user: string | null): number {
    return this.#counts.get(keyOf(database, user)) ?? 0;
  }

  static of(places: readonly Place[]): ClientCounts {
    const counts = new ClientCounts();
    for (const { database, user, clients } of places) counts.add(database, user, clients);
    return counts;
  }

  places(): Place[] {
    return [...this.#counts].flatMap(([key, clients]) => {
      const [database, user] = JSON.parse(key) as [string | null, string | null];
      return database === null || user === null ? [] : [{ database, user, clients }];
    });
  }
}

function keyOf(database: string | null, user: string | null): string {
  return JSON.stringify([database, user]);
}
