import type { Lsn } from '../core/lsn.ts';

/** When a catalog was read: everything in it was committed before `lsn`; `snapshot` as `pg_current_snapshot()` prints it. */
export type CatalogInstant = { readonly lsn: Lsn; readonly snapshot: string };
