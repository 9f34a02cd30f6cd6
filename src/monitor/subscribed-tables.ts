import type { PublishedTable, SubscribedTable } from './subscriber-probe.ts';

/** What can be read on a subscriber as on the primary, and what of the subscription cannot, and why. */
export type TablesThere = { readonly tables: ReadonlySet<number>; readonly leftOut: readonly string[] };

/** Compares the two sides. Remembers which tables were published in part: what was left out then is missing still, until they are copied anew. */
export class SubscribedTables {
  /** Subscription and table → where it had been copied when it was seen to be published in part. */
  readonly #partial = new Map<string, string>();
  /** Which table of the primary it was copied from, as far as that was seen. */
  readonly #sources = new Map<string, { readonly copied: string; readonly oid: number }>();

  compare(subscription: string, there: readonly SubscribedTable[], published: readonly PublishedTable[]): TablesThere {
    const byName = new Map(published.map((table) => [nameOf(table), table]));
    const tables = new Set<number>();
    const leftOut: string[] = [];
    for (const table of there) {
      const source = byName.get(nameOf(table));
      const reason = this.#obstacle(subscription, table, source);
      if (reason === null && source !== undefined) tables.add(Number(source.oid));
      else leftOut.push(`${table.schema}.${table.name} ${reason}`);
    }
    return { tables, leftOut: leftOut.sort() };
  }

  #obstacle(subscription: string, table: SubscribedTable, source: PublishedTable | undefined): string | null {
    const key = `${subscription} ${nameOf(table)}`;
    if (source?.whole !== true && table.copied !== null) this.#partial.set(key, table.copied);
    if (table.state !== 'r') return 'is being copied';
    if (table.copied === null) return 'was not copied';
    if (source === undefined) return 'is not published';
    if (!source.whole) return 'is published in part';
    if (this.#partial.get(key) === table.copied) return 'was published in part';
    const before = this.#sources.get(key);
    if (before?.copied !== table.copied) this.#sources.set(key, { copied: table.copied, oid: Number(source.oid) });
    else if (before.oid !== Number(source.oid)) return 'is another table on the primary now';
    if (!table.only) return 'has a namesake there';
    if (source.definition === null || table.definition === null) return 'is of a kind that is not read there';
    return source.definition === table.definition ? null : 'differs in columns or privileges';
  }
}

function nameOf({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return JSON.stringify([schema, name]);
}
