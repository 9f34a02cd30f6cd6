import { type Kysely, sql } from 'kysely';

/** Lost transactions that were replayed, so that none is replayed twice: written with the rows, in the same transaction. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .withSchema('fairlead')
    .createTable('recovered')
    .addColumn('timeline', 'integer', (c) => c.notNull())
    .addColumn('end_lsn', sql`pg_lsn`, (c) => c.notNull())
    .addColumn('xid', 'bigint', (c) => c.notNull())
    .addColumn('written_as', sql`text[]`, (c) => c.notNull())
    .addColumn('rows', 'integer', (c) => c.notNull())
    .addColumn('skipped', 'integer', (c) => c.notNull())
    .addColumn('at', 'timestamptz', (c) => c.notNull())
    .addPrimaryKeyConstraint('recovered_pkey', ['timeline', 'end_lsn'])
    .execute();
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await db.schema.withSchema('fairlead').dropTable('recovered').execute();
}
