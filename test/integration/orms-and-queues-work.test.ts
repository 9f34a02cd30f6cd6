import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import PgBoss from 'pg-boss';
import { DataSource, EntitySchema } from 'typeorm';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { untilReplayed } from '../support/paused-replay.ts';
import { untilRested, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

type Author = { id: number; name: string; mood: string; tags: string[]; facts: Record<string, unknown>; books: Book[] };
type Book = { id: string; title: string; pages: number; version: number; author: Author };

const AUTHOR = new EntitySchema<Author>({
  name: 'author',
  columns: {
    id: { type: 'int', primary: true, generated: 'increment' },
    name: { type: 'varchar', unique: true },
    mood: { type: 'enum', enum: ['glad', 'sad'], default: 'glad' },
    tags: { type: 'text', array: true, default: '{}' },
    facts: { type: 'jsonb', default: {} },
  },
  relations: { books: { type: 'one-to-many', target: 'book', inverseSide: 'author', cascade: true } },
});
const BOOK = new EntitySchema<Book>({
  name: 'book',
  columns: {
    id: { type: 'uuid', primary: true, generated: 'uuid' },
    title: { type: 'text' },
    pages: { type: 'int' },
    version: { type: 'int', version: true },
  },
  relations: { author: { type: 'many-to-one', target: 'author', inverseSide: 'books', onDelete: 'CASCADE' } },
});

/** What an ORM and job queues ask of a connection: catalogs, nested transactions, locks, LISTEN, SKIP LOCKED; in transaction mode. */
describe('an ORM and job queues work through the proxy', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;

  before(async () => {
    cluster = await startTestCluster({ replicas: 1, settings: { max_connections: 100 } });
    fairlead = await startFairlead(cluster, { config: { pool: { size: 4 } } });
    await untilServing(fairlead, 1);
  });
  after(async () => {
    if (fairlead !== undefined) await untilRested(fairlead);
    await fairlead?.stop();
    await cluster?.stop();
  });

  /** For sessions that look for what others have made. */
  const replayed = () => untilReplayed(cluster, cluster.node('pg2'));

  it('typeorm makes its tables, and changes them', async () => {
    const open = async (...entities: EntitySchema[]) =>
      new DataSource({ type: 'postgres', url: fairlead.url, entities, synchronize: true }).initialize();
    const first = await open(AUTHOR as EntitySchema, BOOK as EntitySchema);
    await first.getRepository(AUTHOR).save({ name: 'Jane' });
    await first.destroy();
    await replayed();
    // a second start finds the catalog as the first one left it, and nothing to do
    const again = await open(AUTHOR as EntitySchema, BOOK as EntitySchema);
    const { upQueries } = await again.driver.createSchemaBuilder().log();
    assert.deepEqual(upQueries, []);
    assert.equal(await again.getRepository(AUTHOR).count(), 1);
    await again.destroy();
    await replayed();
    const { columns, ...rest } = AUTHOR.options;
    const born = { type: 'date', nullable: true } as const;
    const changed = await open(
      new EntitySchema({ ...rest, columns: { ...columns, born } } as never),
      BOOK as EntitySchema,
    );
    await replayed();
    const [jane] = await changed.query('SELECT name, born FROM author');
    assert.deepEqual(jane, { name: 'Jane', born: null });
    await changed.destroy();
  });

  it('typeorm saves graphs, locks, nests transactions and streams', async () => {
    const source = await new DataSource({
      type: 'postgres',
      url: fairlead.url,
      entities: [AUTHOR, BOOK],
      extra: { max: 6 },
    }).initialize();
    try {
      const authors = source.getRepository(AUTHOR);
      const books = Array.from({ length: 30 }, (_, i) => ({ title: `Book ${i}`, pages: i * 10 }));
      const { id } = (await authors.save({
        name: 'George',
        tags: ['a', 'b"c'],
        facts: { born: 1819 },
        books,
      } as never)) as unknown as Author;
      const found = await source.transaction((manager) =>
        manager.findOneOrFail(AUTHOR, {
          where: { id },
          relations: { books: true },
          order: { books: { pages: 'ASC' } },
        }),
      );
      assert.deepEqual([found.tags, found.facts, found.mood], [['a', 'b"c'], { born: 1819 }, 'glad']);
      assert.equal(found.books.length, 30);
      await source.transaction(async (outer) => {
        await outer.update(AUTHOR, { id }, { mood: 'sad' });
        const inner = outer.transaction(async (manager) => {
          await manager.createQueryBuilder().delete().from(BOOK).execute();
          throw new Error('back to the savepoint');
        });
        await assert.rejects(inner, /back to the savepoint/);
        assert.equal(await outer.count(BOOK), 30);
      });
      // each takes other rows, while the others' are locked
      const taken = await Promise.all(
        [0, 1, 2].map(() =>
          source.transaction(async (manager) => {
            const query = manager.createQueryBuilder(BOOK, 'book').orderBy('book.pages').limit(10);
            const rows = await query.setLock('pessimistic_write').setOnLocked('skip_locked').getMany();
            await manager.query('SELECT pg_sleep(0.3)');
            return (await manager.remove(BOOK, rows)).length;
          }),
        ),
      );
      assert.deepEqual(taken, [10, 10, 10]);
      await authors.upsert({ name: 'George', mood: 'glad' } as never, ['name']);
      const runner = source.createQueryRunner('master');
      const [row] = await runner.query(
        'SELECT mood, (SELECT count(*)::int FROM book) AS books FROM author WHERE id = $1',
        [id],
      );
      assert.equal(row.books, 0);
      await runner.release();
    } finally {
      await source.destroy();
    }
  });

  it('graphile-worker runs every job once, as soon as it is there', async () => {
    const logger = new Logger(() => () => {});
    const utils = await makeWorkerUtils({ connectionString: fairlead.url, logger });
    await utils.migrate();
    await replayed();
    const seen = new Map<number, number>();
    const failed = new Set<number>();
    const runners = await Promise.all(
      [1, 2].map(() =>
        run({
          connectionString: fairlead.url,
          logger,
          concurrency: 3,
          maxPoolSize: 5,
          // longer than the test: only NOTIFY tells them
          pollInterval: 600_000,
          noHandleSignals: true,
          taskList: {
            work: async (payload, { withPgClient }) => {
              const { n } = payload as { n: number };
              await withPgClient((client) => client.query('SELECT 1'));
              if (n % 10 === 0 && !failed.has(n)) {
                failed.add(n);
                throw new Error('tried again');
              }
              seen.set(n, (seen.get(n) ?? 0) + 1);
            },
          },
        }),
      ),
    );
    // Two workers that look at once may both sleep over the last job of a queue: one finds the queue's row locked by the
    // other, which has taken a job of no queue. So it is without a proxy, where nobody polls. Hence they are told again.
    const untilWorked = async (what: string, worked: () => boolean) => {
      const tellAgain = () => cluster.node('pg1').query(`NOTIFY "jobs:insert", '{"count":1}'`);
      await until(() => worked() || tellAgain().then(worked), { what, timeoutMs: 60_000, everyMs: 100 });
    };
    try {
      for (let n = 1; n <= 60; n++) await utils.addJob('work', { n }, n % 3 === 0 ? { queueName: 'serial' } : {});
      await utils.addJob('work', { n: 61 }, { jobKey: 'only', runAt: new Date(Date.now() + 600_000) });
      await utils.addJob('work', { n: 62 }, { jobKey: 'only' });
      await untilWorked('the jobs', () => new Set([...seen.keys(), ...failed]).size === 61);
      // told by the worker after the job has failed; some may have had their next turn already
      const noted = 'SELECT FROM graphile_worker._private_jobs WHERE last_error IS NOT NULL AND locked_at IS NULL';
      const waiting = () => [...failed].filter((n) => !seen.has(n)).length;
      await until(async () => (await cluster.node('pg1').query(noted)).length === waiting(), {
        what: 'the failures to be on record',
      });
      // what failed waits for its next turn
      await utils.withPgClient((client) =>
        client.query('UPDATE graphile_worker._private_jobs SET run_at = now() WHERE last_error IS NOT NULL'),
      );
      await utils.addJob('work', { n: 63 });
      await untilWorked('those that had failed', () => seen.size === 62);
      assert.deepEqual(new Set(seen.values()), new Set([1]), 'each once');
      assert.ok(seen.has(62) && !seen.has(61), 'the key was replaced');
    } finally {
      await Promise.all(runners.map((runner) => runner.stop()));
      await utils.release();
    }
  });

  it('pg-boss installs, sends, works, retries and archives', async () => {
    const boss = new PgBoss({ connectionString: fairlead.url, max: 4 });
    boss.on('error', (error) => assert.fail(error));
    // several at once: one of them makes the schema, under an advisory lock
    const others = [new PgBoss({ connectionString: fairlead.url }), new PgBoss({ connectionString: fairlead.url })];
    await Promise.all([boss, ...others].map((one) => one.start()));
    try {
      await boss.createQueue('mail', { name: 'mail', retryLimit: 2, retryDelay: 0 });
      await replayed();
      const seen: number[] = [];
      let failures = 0;
      const handle = async (jobs: PgBoss.Job<{ n: number }>[]) => {
        for (const { data } of jobs) {
          if (data.n === 7 && failures++ === 0) throw new Error('tried again');
          seen.push(data.n);
        }
      };
      for (let n = 0; n < 20; n++) await boss.send('mail', { n });
      for (const one of [boss, ...others])
        await one.work<{ n: number }>('mail', { pollingIntervalSeconds: 0.5 }, handle);
      await until(() => seen.length >= 20, { what: 'the jobs', timeoutMs: 60_000 });
      assert.deepEqual(
        seen.sort((a, b) => a - b),
        Array.from({ length: 20 }, (_, n) => n),
      );
      assert.equal(failures, 2);
    } finally {
      await Promise.all([boss, ...others].map((one) => one.stop({ graceful: false, wait: true })));
    }
  });
});
