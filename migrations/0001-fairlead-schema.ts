import { type Kysely, sql } from 'kysely';

/** Fairlead's own tables: they live on the primary, so that they replicate to whoever is promoted next. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const fairlead = db.schema.withSchema('fairlead');
  await fairlead
    .createTable('epochs')
    .addColumn('epoch', 'bigint', (c) => c.primaryKey())
    .addColumn('primary', 'text', (c) => c.notNull())
    .addColumn('timeline', 'integer', (c) => c.notNull())
    .addColumn('system_id', 'text', (c) => c.notNull())
    .addColumn('fork_lsn', sql`pg_lsn`)
    .addColumn('reason', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('at', 'timestamptz', (c) => c.notNull())
    .execute();
  await fairlead
    .createTable('events')
    .addColumn('id', 'uuid', (c) => c.primaryKey())
    .addColumn('at', 'timestamptz', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('epoch', 'bigint')
    .addColumn('node', 'text')
    .addColumn('message', 'text', (c) => c.notNull())
    .addColumn('detail', 'jsonb', (c) => c.notNull())
    .execute();
  await fairlead.createIndex('events_at').on('events').column('at').execute();
  await fairlead
    .createTable('lag_samples')
    .addColumn('at', 'timestamptz', (c) => c.notNull())
    .addColumn('node', 'text', (c) => c.notNull())
    .addColumn('lag_ms', 'double precision')
    .addColumn('lag_bytes', 'bigint')
    .addPrimaryKeyConstraint('lag_samples_pkey', ['at', 'node'])
    .execute();
}

export async function down(db: Kysely<unknown>): Promise<void> {
  const fairlead = db.schema.withSchema('fairlead');
  await fairlead.dropTable('lag_samples').execute();
  await fairlead.dropTable('events').execute();
  await fairlead.dropTable('epochs').execute();
}
