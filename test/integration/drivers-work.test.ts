import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { type Generated, Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import postgres from 'postgres';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { findProgram, needsProgram, systemPostgres } from '../support/needs.ts';
import { untilReplayed } from '../support/paused-replay.ts';
import { untilRested, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const run = promisify(execFile);

function pgbench(): string | null {
  const system = systemPostgres();
  return findProgram('pgbench') ?? (system === null ? null : join(system.directory, 'pgbench'));
}

/** A python3 that has a module; Debian's packages belong to the system's own. */
async function pythonWith(module: string): Promise<string | null> {
  for (const python of ['/usr/bin/python3', findProgram('python3')]) {
    if (python === null) continue;
    const has = await run(python, ['-c', `import ${module}`]).then(
      () => true,
      () => false,
    );
    if (has) return python;
  }
  return null;
}

const psycopg2 = await pythonWith('psycopg2');
const psycopg3 = await pythonWith('psycopg');

describe('drivers through the proxy', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let directory: string;

  before(async () => {
    cluster = await startTestCluster({ replicas: 1, settings: { max_connections: 100 } });
    fairlead = await startFairlead(cluster, { config: { pool: { size: 4 } } });
    directory = await mkdtemp(join(tmpdir(), 'fairlead-test-'));
    await untilServing(fairlead, 1);
    await cluster.node('pg1').query('CREATE TABLE people (id serial PRIMARY KEY, name text NOT NULL, born date)');
  });
  after(async () => {
    if (fairlead !== undefined) await untilRested(fairlead);
    await fairlead?.stop();
    await cluster?.stop();
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  });

  describe('pg', () => {
    it('simple, parameterised and named statements, errors, transactions', async () => {
      const client = new pg.Client({ connectionString: fairlead.url });
      await client.connect();
      try {
        assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
        const inserted = await client.query('INSERT INTO people (name) VALUES ($1) RETURNING id', ['Ada']);
        const { id } = inserted.rows[0];
        for (let i = 0; i < 5; i++) {
          const named = { name: 'by-id', text: 'SELECT name FROM people WHERE id = $1', values: [id] };
          assert.deepEqual((await client.query(named)).rows, [{ name: 'Ada' }]);
        }
        await assert.rejects(client.query('SELECT nonsense'), { code: '42703' });
        await assert.rejects(client.query('SELECT $1::int', ['x']), { code: '22P02' });
        await client.query('BEGIN');
        await client.query('UPDATE people SET name = $1', ['Eve']);
        await client.query('ROLLBACK');
        assert.deepEqual((await client.query('SELECT name FROM people')).rows, [{ name: 'Ada' }]);
      } finally {
        await client.end();
      }
    });

    it('a pool with more clients than server connections', async () => {
      const pool = new pg.Pool({ connectionString: fairlead.url, max: 16 });
      try {
        const results = await Promise.all(
          Array.from({ length: 400 }, (_, i) =>
            i % 4 === 0
              ? pool.query('INSERT INTO people (name) VALUES ($1) RETURNING $2::int AS i', [`p${i}`, i])
              : pool.query({ name: `q${i % 10}`, text: `SELECT $1::int AS i, ${i % 10} AS k`, values: [i] }),
          ),
        );
        assert.deepEqual(
          results.map((result) => result.rows[0].i),
          Array.from({ length: 400 }, (_, i) => i),
        );
      } finally {
        await pool.end();
      }
    });

    it('its timeouts end statements, and the session goes on', async () => {
      const client = new pg.Client({ connectionString: fairlead.url, statement_timeout: 4000 });
      await client.connect();
      try {
        await assert.rejects(client.query('SELECT pg_sleep(40)'), { code: '57014' });
        assert.equal((await client.query('SELECT 5 AS five')).rows[0].five, 5);
      } finally {
        await client.end();
      }
    });
  });

  describe('postgres.js', () => {
    it('prepares, pipelines and begins', async () => {
      const sql = postgres(fairlead.url, { max: 8 });
      try {
        const made = await sql<
          { id: number }[]
        >`INSERT INTO people ${sql([{ name: 'Mary' }, { name: 'Ida' }], 'name')} RETURNING id`;
        const ids = made.map(({ id }) => id);
        // its other sessions have not written it
        await untilReplayed(cluster, cluster.node('pg2'));
        const found = await Promise.all(
          Array.from(
            { length: 200 },
            (_, i) => sql`SELECT name, ${i}::int AS i FROM people WHERE id = ${ids[i % 2] as number}`,
          ),
        );
        assert.deepEqual(
          found.map(([row]) => [row?.name, row?.i]),
          Array.from({ length: 200 }, (_, i) => [i % 2 === 0 ? 'Mary' : 'Ida', i]),
        );
        const counted = await sql.begin(async (tx) => {
          await tx`DELETE FROM people WHERE id = ANY(${ids})`;
          await tx.savepoint(async (inner) => inner`SELECT 1/0`).catch((error) => assert.equal(error.code, '22012'));
          // several in one go: they travel in one pipeline
          return Promise.all([tx`SELECT count(*)::int AS n FROM people WHERE id = ANY(${ids})`, tx`SELECT 2 AS n`]);
        });
        assert.deepEqual(
          counted.map(([row]) => row?.n),
          [0, 2],
        );
        await assert.rejects(
          sql.begin((tx) => [tx`SELECT 1`, tx`SELECT nonsense`]),
          { code: '42703' },
        );
      } finally {
        await sql.end();
      }
    });

    it('reads by cursor, copies both ways, listens, and prepares again after DDL', async () => {
      // one session, which sees what it did
      const sql = postgres(fairlead.url, { max: 1 });
      try {
        let sum = 0;
        await sql`SELECT generate_series(1, 100) AS n`.cursor(7, (rows) => {
          for (const { n } of rows) sum += n;
        });
        assert.equal(sum, 5050);
        await sql`CREATE TABLE copies (n int, t text)`;
        const into = await sql`COPY copies FROM STDIN`.writable();
        for (let i = 0; i < 1000; i++) into.write(`${i}\tline ${i}\n`);
        into.end();
        await finished(into);
        let bytes = 0;
        for await (const chunk of await sql`COPY copies TO STDOUT`.readable()) bytes += chunk.length;
        assert.equal(bytes, Array.from({ length: 1000 }, (_, i) => `${i}\tline ${i}\n`).join('').length);
        const heard: string[] = [];
        const { unlisten } = await sql.listen('copied', (payload) => heard.push(payload));
        await sql.notify('copied', 'a thousand');
        await until(() => heard.length > 0, { what: 'the notification' });
        assert.deepEqual(heard, ['a thousand']);
        await unlisten();
        const first = () => sql`SELECT * FROM copies WHERE n = 1`;
        assert.deepEqual([...(await first())], [{ n: 1, t: 'line 1' }]);
        await sql`ALTER TABLE copies ADD more int DEFAULT 5`;
        for (let i = 0; i < 6; i++) assert.deepEqual([...(await first())], [{ n: 1, t: 'line 1', more: 5 }]);
      } finally {
        await sql.end();
      }
    });
  });

  it('kysely', async () => {
    type Tables = { people: { id: Generated<number>; name: string; born: Date | null } };
    const db = new Kysely<Tables>({
      dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: fairlead.url, max: 4 }) }),
    });
    try {
      const made = await db
        .insertInto('people')
        .values({ name: 'Grace', born: new Date('1906-12-09') })
        .returning('id')
        .executeTakeFirstOrThrow();
      const found = await db.selectFrom('people').selectAll().where('id', '=', made.id).executeTakeFirst();
      assert.equal(found?.name, 'Grace');
      await db.transaction().execute(async (trx) => {
        await trx.updateTable('people').set({ name: 'Hopper' }).where('id', '=', made.id).execute();
        const [row] = (await sql<{ name: string }>`SELECT name FROM people WHERE id = ${made.id}`.execute(trx)).rows;
        assert.equal(row?.name, 'Hopper');
      });
    } finally {
      await db.destroy();
    }
  });

  describe('psql', { skip: needsProgram('psql') }, () => {
    const psql = async (script: string, ...options: string[]) => {
      const file = join(directory, 'script.sql');
      await writeFile(file, script);
      return run('psql', ['-X', '-q', ...options, '-f', file, fairlead.url]);
    };

    it('\\d, \\copy both ways, \\timing', async () => {
      const data = join(directory, 'data.csv');
      const out = join(directory, 'out.csv');
      await writeFile(data, Array.from({ length: 1000 }, (_, i) => `csv ${i}\n`).join(''));
      const script = `\\timing on
        \\d people
        \\dt
        \\df
        \\copy people (name) FROM '${data}' CSV
        \\copy (SELECT name FROM people WHERE name LIKE 'csv %' ORDER BY id) TO '${out}' CSV
        SELECT count(*) FROM people WHERE name LIKE 'csv %';`;
      const { stdout, stderr } = await psql(script, '-v', 'ON_ERROR_STOP=1');
      assert.equal(stderr, '');
      assert.match(stdout, /people_pkey/);
      assert.match(stdout, /\b1000\b/);
      assert.match(stdout, /Time: /);
      assert.equal(await readFile(out, 'utf8'), await readFile(data, 'utf8'));
    });

    it('ON_ERROR_STOP ends a script at its first error', async () => {
      const script = "SELECT 'begun'; SELECT 1/0; SELECT 'not reached';";
      await assert.rejects(psql(script, '-v', 'ON_ERROR_STOP=1'), (error: { code: number; stdout: string }) => {
        assert.equal(error.code, 3);
        assert.match(error.stdout, /begun/);
        assert.doesNotMatch(error.stdout, /not reached/);
        return true;
      });
      const { stdout } = await psql(script);
      assert.match(stdout, /not reached/);
    });
  });

  describe('pgbench', { skip: pgbench() === null ? 'no pgbench here' : false }, () => {
    const bench = (...options: string[]) => run(pgbench() as string, [...options, fairlead.url]);

    before(async () => {
      await bench('-i', '-q', '-s', '2');
      // the sessions that look for the tables have not made them
      await untilReplayed(cluster, cluster.node('pg2'));
    });
    for (const mode of ['simple', 'extended', 'prepared']) {
      for (const script of [[], ['-S']]) {
        it(`-M ${mode} ${script.join(' ')}`, async () => {
          // a thread for each client: while one waits for its statements to be prepared, its thread serves no other,
          // and those may hold all the server connections
          const { stdout } = await bench('-n', '-M', mode, '-c', '16', '-j', '16', '-T', '3', ...script);
          assert.match(stdout, /number of failed transactions: 0 /);
          assert.doesNotMatch(stdout, /actually processed: 0$/m);
        });
      }
    }
    it('left books that balance', async () => {
      const sums = `SELECT (SELECT sum(abalance) FROM pgbench_accounts) AS a, (SELECT sum(tbalance) FROM pgbench_tellers) AS t,
        (SELECT sum(bbalance) FROM pgbench_branches) AS b, (SELECT sum(delta) FROM pgbench_history) AS h`;
      const [row] = await cluster.node('pg1').query<Record<string, string>>(sums);
      assert.equal(new Set(Object.values(row ?? {})).size, 1, JSON.stringify(row));
    });
  });

  it('psycopg2', {
    skip: psycopg2 === null ? 'no psycopg2 here (apt-get install python3-psycopg2)' : false,
  }, async () => {
    const script = `
import io, sys, psycopg2, psycopg2.extras
connection = psycopg2.connect(sys.argv[1])
with connection, connection.cursor() as cursor:
    cursor.execute('INSERT INTO people (name) VALUES (%s) RETURNING id', ('Barbara',))
    id = cursor.fetchone()[0]
    psycopg2.extras.execute_values(cursor, 'INSERT INTO people (name) VALUES %s', [('v%d' % i,) for i in range(100)])
with connection, connection.cursor('named') as cursor:
    cursor.itersize = 7
    cursor.execute('SELECT generate_series(1, 100)')
    assert sum(row[0] for row in cursor) == 5050
with connection, connection.cursor() as cursor:
    cursor.copy_expert('COPY people (name) FROM STDIN', io.StringIO('one\\ntwo\\n'))
    out = io.StringIO()
    cursor.copy_expert('COPY (SELECT name FROM people WHERE id = %d) TO STDOUT' % id, out)
    assert out.getvalue() == 'Barbara\\n', out.getvalue()
try:
    with connection, connection.cursor() as cursor:
        cursor.execute('SELECT 1/0')
except psycopg2.errors.DivisionByZero:
    print('caught')
connection.autocommit = True
with connection.cursor() as cursor:
    cursor.execute('SELECT count(*) FROM people WHERE name = %s', ('Barbara',))
    print(cursor.fetchone()[0])
connection.close()
`;
    const { stdout } = await run(psycopg2 as string, ['-c', script, fairlead.url]);
    assert.equal(stdout, 'caught\n1\n');
  });

  it('psycopg 3', {
    skip: psycopg3 === null ? 'no psycopg here (apt-get install python3-psycopg)' : false,
  }, async () => {
    const script = `
import sys, psycopg
from psycopg.rows import dict_row
with psycopg.connect(sys.argv[1], prepare_threshold=2) as connection:
    with connection.pipeline() as pipeline, connection.cursor() as cursor:
        cursor.executemany('INSERT INTO people (name) VALUES (%s)', [('p%d' % i,) for i in range(50)])
        pipeline.sync()
        try:
            with connection.transaction():
                connection.execute('SELECT 1/0')
                connection.execute('SELECT 2')
                pipeline.sync()
        except psycopg.errors.DivisionByZero:
            print('caught')
    connection.commit()
    # text and binary; prepared from the third time on
    for binary in (False, True):
        for i in range(6):
            row = connection.execute('SELECT %b::int8 AS n, %s::text[] AS t, now() AS at', (i, ['a', 'b']), binary=binary).fetchone()
            assert row[:2] == (i, ['a', 'b']), row
    with connection.cursor('server', row_factory=dict_row, scrollable=True) as cursor:
        cursor.execute('SELECT generate_series(1, 100) AS n')
        assert sum(row['n'] for row in cursor.fetchmany(10)) == 55
        cursor.scroll(-5)
        assert cursor.fetchone() == {'n': 6}
    with connection.cursor() as cursor:
        with cursor.copy('COPY people (name) FROM STDIN (FORMAT binary)') as copy:
            copy.set_types(['text'])
            for i in range(100):
                copy.write_row(('c%d' % i,))
        with cursor.copy("COPY (SELECT name FROM people WHERE name ~ '^c[0-9]' ORDER BY id LIMIT 3) TO STDOUT") as copy:
            print([row[0] for row in copy.rows()])
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute('LISTEN psycopg')
    with psycopg.connect(sys.argv[1], autocommit=True) as other:
        other.execute("NOTIFY psycopg, 'heard'")
    for notify in connection.notifies():
        print(notify.payload)
        break
    print(connection.execute("SELECT count(*) FROM people WHERE name ~ '^[pc][0-9]'").fetchone()[0] >= 150)
`;
    const { stdout } = await run(psycopg3 as string, ['-c', script, fairlead.url]);
    assert.equal(stdout, "caught\n['c0', 'c1', 'c2']\nheard\nTrue\n");
  });
});
