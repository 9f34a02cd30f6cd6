import { type Kysely, sql } from 'kysely';

/** Where acknowledged commits are: in the WAL before each setting of the servers that it allows, so that whoever has such a commit has this too. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .withSchema('fairlead')
    .createTable('synchrony')
    .addColumn('epoch', 'bigint', (c) => c.primaryKey())
    .addColumn('version', 'integer', (c) => c.notNull())
    .addColumn('primary', 'text', (c) => c.notNull())
    .addColumn('timeline', 'integer', (c) => c.notNull())
    .addColumn('guarantee', sql`jsonb`, (c) => c.notNull())
    .addColumn('at', 'timestamptz', (c) => c.notNull())
    .execute();
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await db.schema.withSchema('fairlead').dropTable('synchrony').execute();
}
