/** Journals written by hand, replayed on one server on which others went on after the fork. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type pg from 'pg';
import { SILENT } from '../../src/core/log.ts';
import {
  JOURNAL_FORMAT,
  JOURNAL_VERSION,
  type JournalHeader,
  type JournalTransaction,
} from '../../src/failover/lost/journal-format.ts';
import {
  type Recovered,
  type RecoverOptions,
  type ReplayedTransaction,
  recover,
} from '../../src/failover/recover/recover.ts';
import { openSession } from '../../src/failover/recover/session.ts';
import type { RowChange, Values } from '../../src/replication/row-change.ts';
import { migrate } from '../../src/store/migrate.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { configFor } from '../support/fairlead.ts';
import { NO_TLS } from '../support/server-tls.ts';
import type { TestNode } from '../support/test-cluster.ts';

const insert = (table: string, row: Values): RowChange => ({ op: 'insert', schema: 'public', table, new: row });
const update = (table: string, row: Values, old: Values | null = null): RowChange => ({
  ...{ op: 'update', schema: 'public', table, old, new: row },
});
const remove = (table: string, old: Values | null): RowChange => ({ op: 'delete', schema: 'public', table, old });
const truncate = (...tables: string[]): RowChange => ({
  ...{ op: 'truncate', tables: tables.map((table) => ({ schema: 'public', table })), restartIdentity: false },
});

/** Runs, told by state and the first reason. */
type Told = readonly (readonly [ReplayedTransaction['state'], string?])[];

describe('recover overwrites nothing', () => {
  let cluster: TestCluster;
  let node: TestNode;
  /** Each journal has a timeline of its own: end LSNs are counted within. */
  let timelines = 100;

  before(async () => {
    cluster = await startTestCluster({ replicas: 0 });
    node = cluster.node('pg1');
    await migrate(configFor(cluster), SILENT);
  });
  after(() => cluster?.stop());

  const target = (user: string, password: string) => ({
    ...{ name: node.name, host: node.host, port: node.port, tls: NO_TLS, database: 'postgres', user, password },
  });

  /** What was lost, as of now: what is written from here on is newer than the fork. */
  async function journalOf(...transactions: (readonly RowChange[] | Partial<JournalTransaction>)[]) {
    const [row] = await node.query<{ xid: string }>('SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xid');
    const oldTimeline = ++timelines;
    const lines = transactions.map((one, i) => {
      const about = { endLsn: `0/${i + 1}`, commitTime: '', xid: i, tables: [], rows: [] };
      return { ...about, ...(Array.isArray(one) ? { rows: one } : one) } as JournalTransaction;
    });
    const header: JournalHeader = {
      ...{ format: JOURNAL_FORMAT, version: JOURNAL_VERSION, systemId: '', database: 'postgres', epoch: 1, from: 'a' },
      ...{ to: 'b', oldTimeline, newTimeline: oldTimeline + 1, forkLsn: '0/1', oldPrimaryLsn: '0/1', toldUntil: '0/1' },
      ...{ firstXid: row?.xid ?? '', at: '', transactions: lines.length, listedFrom: null },
    };
    let recovered: Recovered | null = null;
    const run = async (options: Partial<RecoverOptions> = {}, as = [cluster.superuser, cluster.password] as const) => {
      const client: pg.Client = await openSession(target(...as));
      const told: ReplayedTransaction[] = [];
      async function* each() {
        yield* lines;
      }
      try {
        const journal = { header, transactions: each() };
        recovered = await recover(client, journal, { apply: true, skipRows: false, ...options }, (one) =>
          told.push(one),
        );
      } finally {
        await client.end();
      }
      return told;
    };
    return {
      run,
      states: async (...args: Parameters<typeof run>): Promise<Told> => (await run(...args)).map(shown),
      /** Of the last run. */
      sequences: () => ({ moved: recovered?.sequences, notes: recovered?.notes }),
    };
  }
  const shown = ({ state, problems }: ReplayedTransaction) =>
    problems[0] === undefined ? ([state] as const) : ([state, problems[0].why] as const);
  const rows = async (table: string) =>
    (await node.query<{ row: string }>(`SELECT t::text AS row FROM ${table} t ORDER BY 1`)).map(({ row }) => row);

  it('an INSERT whose key is taken, or another unique value, or that somebody has done again', async () => {
    await node.query('CREATE TABLE i (id int PRIMARY KEY, code text UNIQUE, note text)');
    const journal = await journalOf(
      [insert('i', { id: '1', code: 'a', note: null })],
      [insert('i', { id: '2', code: 'b', note: null })],
      [insert('i', { id: '3', code: 'c', note: null })],
      [insert('i', { id: '4', code: 'd', note: null }), insert('i', { id: '3', code: 'c', note: null })],
    );
    await node.query(`INSERT INTO i VALUES (1, 'z', NULL), (9, 'b', NULL), (3, 'c', NULL)`);
    const before = await rows('i');
    assert.deepEqual(await journal.states(), [
      ['conflict', 'another row has this key'],
      ['conflict', 'another row has a value that must be unique'],
      ['there'],
      ['conflict', 'the row is like that already'],
    ]);
    assert.deepEqual(await rows('i'), before);
    assert.deepEqual((await journal.states())[2], ['before']);
  });

  it('an UPDATE or DELETE of a row that was changed since, and what builds on one that was not replayed', async () => {
    await node.query('CREATE TABLE u (id int PRIMARY KEY, n int)');
    await node.query('INSERT INTO u SELECT i, 0 FROM generate_series(1, 6) i');
    const journal = await journalOf(
      [update('u', { id: '1', n: '1' })],
      [update('u', { id: '2', n: '1' })],
      [update('u', { id: '2', n: '2' }), update('u', { id: '3', n: '1' })],
      [update('u', { id: '3', n: '2' })],
      [remove('u', { id: '4' })],
      [remove('u', { id: '5' })],
      [update('u', { id: '16', n: '0' }, { id: '6' })],
      [update('u', { id: '16', n: '7' })],
      [update('u', { id: '1', n: '1' }), update('u', { id: '16', n: '8' })],
    );
    await node.query('UPDATE u SET n = 50 WHERE id IN (2, 4)');
    await node.query('DELETE FROM u WHERE id = 5');
    const told: Told = [
      ['replayed'],
      ['conflict', 'the row was changed after the failover'],
      ['conflict', 'an earlier lost transaction changed this row too, and was not replayed'],
      ['conflict', 'an earlier lost transaction changed this row too, and was not replayed'],
      ['conflict', 'the row was changed after the failover'],
      ['there'],
      ['replayed'],
      ['replayed'],
      // the first changes nothing
      ['replayed'],
    ];
    const untouched = await rows('u');
    assert.deepEqual(await journal.states({ apply: false }), told, 'what it would do');
    assert.deepEqual(await rows('u'), untouched);
    assert.deepEqual(await journal.states(), told);
    assert.deepEqual(await rows('u'), ['(1,1)', '(16,8)', '(2,50)', '(3,0)', '(4,50)']);
  });

  it('what an earlier run has replayed is no change by others', async () => {
    await node.query('CREATE TABLE again (id int PRIMARY KEY, n int)');
    await node.query('INSERT INTO again VALUES (1, 0)');
    const journal = await journalOf(
      [update('again', { id: '1', n: '1' })],
      [update('again', { id: '1', n: '2' }), insert('again', { id: '7', n: '7' })],
    );
    await node.query('INSERT INTO again VALUES (7, 0)');
    assert.deepEqual(await journal.states(), [['replayed'], ['conflict', 'another row has this key']]);
    await node.query('DELETE FROM again WHERE id = 7');
    assert.deepEqual(await journal.states(), [['before'], ['replayed']]);
    assert.deepEqual(await rows('again'), ['(1,2)', '(7,7)']);
  });

  it('with REPLICA IDENTITY FULL what the row looks like decides', async () => {
    await node.query('CREATE TABLE f (id int PRIMARY KEY, n int, j json)');
    await node.query('ALTER TABLE f REPLICA IDENTITY FULL');
    await node.query(`INSERT INTO f VALUES (1, 0, '{"a":1}'), (2, 0, NULL)`);
    const journal = await journalOf(
      [update('f', { id: '1', n: '1', j: null }, { id: '1', n: '0', j: '{"a":1}' })],
      [remove('f', { id: '2', n: '0' })],
    );
    // written again, and as it was
    await node.query('UPDATE f SET n = n WHERE id = 1');
    await node.query('UPDATE f SET n = 9 WHERE id = 2');
    assert.deepEqual(await journal.states(), [
      ['replayed'],
      ['conflict', 'the row differs from what the lost transaction saw'],
    ]);
    assert.deepEqual(await rows('f'), ['(1,1,)', '(2,9,)']);
  });

  it('tables without identity, that are gone, that have other columns, and changes of the schema', async () => {
    await node.query('CREATE TABLE bare (a int)');
    await node.query('CREATE MATERIALIZED VIEW seen AS SELECT 1 AS a');
    const nobody = 'the table has no REPLICA IDENTITY: nobody knows which row';
    const journal = await journalOf(
      [insert('bare', { a: '1' }), insert('bare', { a: '1' })],
      [update('bare', { a: '2' })],
      [remove('bare', null)],
      [insert('gone', { a: '1' })],
      [insert('bare', { a: '1', b: '1' })],
      [insert('seen', { a: '1' })],
      { ddl: true },
      { rows: null, tables: ['public.bare'], reason: 'too large' },
      [insert('bare', { a: 'no number' })],
    );
    const told = await journal.states();
    assert.deepEqual(told.slice(0, 8), [
      ['replayed'],
      ['conflict', nobody],
      ['conflict', nobody],
      ['conflict', 'there is no such table'],
      ['conflict', 'there is no column b'],
      ['conflict', 'it is a materialized view: refresh it'],
      ['conflict', 'it changed the schema, which is not kept: change it by hand'],
      ['unknown', 'too large'],
    ]);
    assert.match(`${told[8]}`, /^failed,invalid input syntax/);
    assert.deepEqual(await rows('bare'), ['(1)', '(1)']);
  });

  it('keys of any type, and values that have more than one form', async () => {
    await node.query(`CREATE TYPE colour AS ENUM ('red', 'dark "green"')`);
    await node.query('CREATE DOMAIN positive AS numeric CHECK (VALUE > 0)');
    await node.query(`CREATE TABLE k (c colour, p positive, u uuid, a int[], v varchar(20), r int4range, t timestamptz, f float4, note text,
      PRIMARY KEY (c, p, u, a, v, r, t, f))`);
    const uuid = '0a0a0a0a-0000-4000-8000-000000000001';
    await node.query(
      `INSERT INTO k VALUES ('dark "green"', 1.50, '${uuid}', '{1,NULL}', 'é', '[1,3)', '2026-01-01 00:00:00.5+02', 0.1, 'old')`,
    );
    const of = (change: Values) => ({
      ...{ c: 'dark "green"', p: '1.50', u: uuid, a: '{1,NULL}', v: 'é', r: '[1,3)', t: '2025-12-31 22:00:00.5+00' },
      ...{ f: '0.1', ...change },
    });
    const journal = await journalOf(
      [update('k', of({ note: 'new' }))],
      [update('k', of({ c: 'red', note: 'new' }), of({}))],
      [remove('k', of({ c: 'red' })), insert('k', of({ p: '2', note: null }))],
    );
    assert.deepEqual(await journal.states(), [['replayed'], ['replayed'], ['replayed']]);
    const [row] = await node.query<{ p: string; note: string | null }>('SELECT p, note FROM k');
    assert.deepEqual(row, { p: '2', note: null });
  });

  it('a TRUNCATE only where every row is from before the fork', async () => {
    await node.query('CREATE TABLE t1 (a int)');
    await node.query('CREATE TABLE t2 (a int)');
    await node.query('INSERT INTO t1 VALUES (1)');
    await node.query('INSERT INTO t2 VALUES (1)');
    const journal = await journalOf([truncate('t1')], [insert('t1', { a: '5' })], [truncate('t1', 't2')]);
    const told = await journal.states();
    assert.deepEqual(told, [['replayed'], ['replayed'], ['replayed']], 'what was replayed before counts as old');
    const second = await journalOf([insert('t1', { a: '6' })], [truncate('t1')], [truncate('t2')]);
    await node.query('INSERT INTO t1 VALUES (7)');
    assert.deepEqual(await second.states(), [
      ['replayed'],
      ['conflict', 'public.t1: it has rows that were written after the failover'],
      ['replayed'],
    ]);
    assert.deepEqual(await rows('t1'), ['(6)', '(7)']);
  });

  it('foreign keys hold, also of partitioned tables, although no trigger fires', async () => {
    await node.query('CREATE TABLE parent (id int PRIMARY KEY) PARTITION BY RANGE (id)');
    await node.query('CREATE TABLE parent_a PARTITION OF parent FOR VALUES FROM (0) TO (100)');
    await node.query('CREATE TABLE parent_b PARTITION OF parent FOR VALUES FROM (100) TO (200)');
    await node.query('CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent)');
    await node.query('INSERT INTO parent VALUES (1), (2), (3), (150)');
    await node.query('INSERT INTO child VALUES (30, 3)');
    const journal = await journalOf(
      [insert('child', { id: '1', parent: '1' })],
      [insert('child', { id: '2', parent: '150' }), insert('child', { id: '3', parent: null })],
      [remove('parent_a', { id: '2' })],
      [remove('parent_a', { id: '3' }), remove('child', { id: '30' })],
      // in any order
      [insert('child', { id: '5', parent: '50' }), insert('parent_a', { id: '50' })],
      [update('child', { id: '5', parent: '51' })],
    );
    await node.query('DELETE FROM parent WHERE id = 1');
    await node.query('INSERT INTO child VALUES (20, 2)');
    const told = await journal.states();
    assert.match(
      `${told[0]}`,
      /^conflict,a row of public.child would refer to a row of public.parent that is not there \(parent\)=\(1\)/,
    );
    assert.deepEqual(told[1], ['replayed']);
    assert.match(`${told[2]}`, /^conflict,a row of public.child would refer .* \(parent\)=\(2\)/);
    assert.deepEqual(told.slice(3, 5), [['replayed'], ['replayed']]);
    assert.match(`${told[5]}`, /^conflict,.*\(parent\)=\(51\)/);
    assert.deepEqual(await rows('child'), ['(2,150)', '(20,2)', '(3,)', '(5,50)']);
  });

  it('a role that cannot keep triggers from firing leaves tables alone that have some', async () => {
    await node.query(`CREATE ROLE plain LOGIN PASSWORD 'p'`);
    await node.query('CREATE TABLE free (id int PRIMARY KEY, up int REFERENCES free)');
    await node.query('CREATE TABLE watched (id int PRIMARY KEY)');
    await node.query('CREATE TABLE late (id int UNIQUE DEFERRABLE)');
    await node.query('CREATE TABLE closed (id int)');
    await node.query('CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$');
    await node.query('CREATE TRIGGER n BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION nothing()');
    await node.query('GRANT ALL ON free, watched, late TO plain');
    await node.query('GRANT USAGE ON SCHEMA fairlead TO plain');
    await node.query('GRANT ALL ON ALL TABLES IN SCHEMA fairlead TO plain');
    const journal = await journalOf(
      [insert('watched', { id: '1' })],
      [insert('late', { id: '1' })],
      [insert('free', { id: '1', up: '2' })],
      [insert('closed', { id: '1' })],
      [insert('free', { id: '3', up: null })],
    );
    const told = await journal.states({}, ['plain', 'p']);
    assert.match(`${told[0]}`, /^conflict,its triggers would repeat what the stream tells: .*session_replication_role/);
    const deferrable = 'it has a deferrable unique or exclusion constraint: replay its rows by hand';
    assert.deepEqual(told[1], ['conflict', deferrable]);
    assert.match(`${told[2]}`, /^conflict,.*violates foreign key constraint/);
    assert.match(`${told[3]}`, /^failed,permission denied for table closed/);
    assert.deepEqual(told[4], ['replayed']);
    await node.query('CREATE TABLE rooms (r int4range, EXCLUDE USING gist (r WITH &&) DEFERRABLE)');
    await node.query(`INSERT INTO rooms VALUES ('[1,5)')`);
    const others = await journalOf(
      [insert('late', { id: '1' })],
      [insert('watched', { id: '2' })],
      [insert('rooms', { r: '[2,3)' })],
    );
    assert.deepEqual(await others.states(), [['conflict', deferrable], ['replayed'], ['conflict', deferrable]]);
  });

  it('a primary key that the stream does not tell names no row, nor does one that the table has got since', async () => {
    await node.query('CREATE TABLE nameless (id int PRIMARY KEY, n int)');
    await node.query('ALTER TABLE nameless REPLICA IDENTITY NOTHING');
    await node.query('CREATE TABLE indexless (id int PRIMARY KEY, code int NOT NULL CONSTRAINT code UNIQUE)');
    await node.query('ALTER TABLE indexless REPLICA IDENTITY USING INDEX code');
    await node.query('ALTER TABLE indexless DROP CONSTRAINT code');
    await node.query('CREATE TABLE rekeyed (id int PRIMARY KEY, other int NOT NULL)');
    await node.query('CREATE TABLE rekeyed2 (id int PRIMARY KEY, other int NOT NULL)');
    await node.query('CREATE TABLE keyless (a int, b int)');
    await node.query('ALTER TABLE keyless REPLICA IDENTITY FULL');
    for (const table of ['nameless', 'indexless', 'rekeyed', 'rekeyed2', 'keyless']) {
      await node.query(`INSERT INTO ${table} VALUES (1, 10), (2, 20)`);
    }
    const journal = await journalOf(
      // it was row 1 that became row 2, when 2 was free
      [update('nameless', { id: '2', n: '11' })],
      [update('indexless', { id: '2', code: '11' })],
      [remove('rekeyed', { id: '1' })],
      [update('rekeyed', { id: '2', other: '21' })],
      [update('rekeyed2', { id: '2', other: '20' }, { id: '1' })],
      [remove('keyless', { a: '1', b: '10' })],
      [remove('keyless', { a: '2', b: '20' })],
    );
    await node.query('ALTER TABLE rekeyed DROP CONSTRAINT rekeyed_pkey, ADD PRIMARY KEY (other)');
    await node.query('ALTER TABLE rekeyed2 DROP CONSTRAINT rekeyed2_pkey, ADD PRIMARY KEY (other)');
    await node.query('UPDATE keyless SET b = 11 WHERE a = 1');
    const nobody = 'the table has no REPLICA IDENTITY: nobody knows which row';
    const other = 'what is known of the row does not name it by the key that the table has now';
    assert.deepEqual(await journal.states(), [
      ['conflict', nobody],
      ['conflict', nobody],
      ['conflict', other],
      ['conflict', 'an earlier lost transaction changed rows of this table that nobody knows'],
      ['conflict', other],
      ['conflict', 'the row is not there any more'],
      ['replayed'],
    ]);
    for (const table of ['nameless', 'indexless', 'rekeyed', 'rekeyed2'])
      assert.deepEqual(await rows(table), ['(1,10)', '(2,20)']);
    assert.deepEqual(await rows('keyless'), ['(1,11)']);
  });

  it('columns whose names every object of JavaScript has', async () => {
    await node.query('CREATE TABLE o (id int PRIMARY KEY, constructor text, "toString" text, "__proto__" text)');
    await node.query(`INSERT INTO o VALUES (1, 'a', 'b', 'c')`);
    await node.query('CREATE TABLE whole (id int, constructor text)');
    await node.query('ALTER TABLE whole REPLICA IDENTITY FULL');
    await node.query('INSERT INTO whole VALUES (1, NULL)');
    const journal = await journalOf(
      [insert('o', { id: '2' })],
      [update('o', { id: '1', constructor: 'x' })],
      [update('o', { id: '1', ...JSON.parse('{"__proto__":"y"}') })],
      [remove('whole', { id: '1' })],
      [insert('o', { id: '3' })],
    );
    await node.query('INSERT INTO o VALUES (3)');
    assert.deepEqual(await journal.states(), [['replayed'], ['replayed'], ['replayed'], ['replayed'], ['there']]);
    assert.deepEqual(await rows('o'), ['(1,x,b,y)', '(2,,,)', '(3,,,)']);
  });

  it('sequences go on behind what was replayed, also where an earlier run replayed it or another one cannot', async () => {
    await node.query('CREATE TABLE q1 (id smallint GENERATED BY DEFAULT AS IDENTITY (MAXVALUE 5) PRIMARY KEY)');
    await node.query('CREATE TABLE q2 (id serial PRIMARY KEY, n int)');
    await node.query('CREATE TABLE q3 (id serial, n int) PARTITION BY RANGE (n)');
    await node.query('CREATE TABLE q3_a PARTITION OF q3 FOR VALUES FROM (0) TO (10)');
    const journal = await journalOf(
      [insert('q1', { id: '9' })],
      [insert('q2', { id: '1', n: '1' })],
      [insert('q3_a', { id: '7', n: '1' })],
    );
    const moved = [
      { sequence: 'public.q2_id_seq', to: '1' },
      { sequence: 'public.q3_id_seq', to: '7' },
    ];
    const next = async (table: string) =>
      (await node.query<{ id: string }>(`INSERT INTO ${table} (n) VALUES (2) RETURNING id::text`))[0]?.id;
    await journal.run({ apply: false });
    assert.deepEqual(journal.sequences().moved?.slice(1), moved, 'what it would do');
    const states = await journal.states();
    assert.deepEqual(states, [['replayed'], ['replayed'], ['replayed']]);
    const first = journal.sequences();
    assert.deepEqual(first.moved, moved);
    assert.match(
      `${first.notes}`,
      /^public\.q1_id_seq may give out 9 again, it could not be moved on: .*out of bounds/,
    );
    assert.equal(await next('q2'), '2');
    assert.equal(await next('q3'), '8');

    // a run that ended before it came to that
    await node.query('DELETE FROM q2 WHERE id = 2');
    await node.query(`SELECT setval('q2_id_seq', 1, false), setval('q3_id_seq', 100)`);
    await node.query('ALTER TABLE q1 ALTER id SET MAXVALUE 100');
    assert.deepEqual(await journal.states(), [['before'], ['before'], ['before']]);
    const again = [{ sequence: 'public.q1_id_seq', to: '9' }, moved[0]];
    assert.deepEqual(journal.sequences(), { moved: again, notes: [] });
    assert.equal(await next('q2'), '2');
    assert.equal(await next('q3'), '101');
  });

  it('a sequence that may not be read does not hide the others from a run that takes everything back', async () => {
    await node.query(`CREATE ROLE reader LOGIN PASSWORD 'r'`);
    await node.query('CREATE TABLE r1 (id serial PRIMARY KEY)');
    await node.query('CREATE TABLE r2 (id serial PRIMARY KEY)');
    await node.query('GRANT ALL ON r1, r2 TO reader');
    await node.query('GRANT ALL ON SEQUENCE r2_id_seq TO reader');
    await node.query('GRANT USAGE ON SCHEMA fairlead TO reader');
    await node.query('GRANT ALL ON ALL TABLES IN SCHEMA fairlead TO reader');
    const journal = await journalOf([insert('r1', { id: '5' })], [insert('r2', { id: '5' })]);
    assert.deepEqual(await journal.states({ apply: false }, ['reader', 'r']), [['replayed'], ['replayed']]);
    const { moved, notes } = journal.sequences();
    assert.deepEqual(moved, [{ sequence: 'public.r2_id_seq', to: '5' }]);
    assert.match(`${notes}`, /^public\.r1_id_seq .*permission denied/);
    assert.deepEqual(await rows('r1'), []);
  });

  it('skips single rows where it is told to, and what the server refuses of them', async () => {
    await node.query('CREATE TABLE s (id int PRIMARY KEY, n int CHECK (n > 0))');
    await node.query('INSERT INTO s VALUES (1, 1), (2, 1)');
    const journal = await journalOf(
      [
        update('s', { id: '1', n: '5' }),
        update('s', { id: '2', n: '5' }),
        insert('s', { id: '3', n: '0' }),
        insert('s', { id: '4', n: '1' }),
        update('s', { id: '4', n: '2' }),
      ],
      [update('s', { id: '2', n: '6' })],
    );
    await node.query('UPDATE s SET n = 9 WHERE id = 2');
    const told = await journal.run({ skipRows: true });
    assert.deepEqual(
      told.map(({ state, rows: replayed, skipped }) => [state, replayed, skipped]),
      [
        ['replayed', 3, 2],
        ['replayed', 0, 1],
      ],
    );
    assert.match(told[0]?.problems[1]?.why ?? '', /check constraint/);
    assert.deepEqual(await rows('s'), ['(1,5)', '(2,9)', '(4,2)']);
  });

  it('skips no row that the server refuses for another reason than its values', async () => {
    await node.query(`CREATE ROLE guest LOGIN PASSWORD 'g'`);
    await node.query('CREATE TABLE open (id int PRIMARY KEY)');
    await node.query('CREATE TABLE shut (id int PRIMARY KEY)');
    await node.query('GRANT ALL ON open TO guest');
    await node.query('GRANT USAGE ON SCHEMA fairlead TO guest');
    await node.query('GRANT ALL ON ALL TABLES IN SCHEMA fairlead TO guest');
    await node.query('CREATE SCHEMA hidden');
    await node.query('CREATE TABLE hidden.t (id serial PRIMARY KEY)');
    const journal = await journalOf(
      [insert('open', { id: '1' }), insert('shut', { id: '1' })],
      [{ op: 'insert', schema: 'hidden', table: 't', new: { id: '1' } }],
    );
    const told = await journal.states({ skipRows: true }, ['guest', 'g']);
    const hidden = ['failed', 'permission denied for schema hidden'] as const;
    assert.deepEqual(told, [['failed', 'permission denied for table shut'], hidden]);
    assert.deepEqual(await rows('open'), []);
    await node.query('GRANT ALL ON shut TO guest');
    assert.deepEqual(await journal.states({ skipRows: true }, ['guest', 'g']), [['replayed'], hidden]);
    assert.deepEqual([await rows('open'), await rows('shut')], [['(1)'], ['(1)']]);
  });

  it('two at once replay each transaction once', async () => {
    await node.query('CREATE TABLE twice (a int)');
    const journal = await journalOf(...Array.from({ length: 20 }, (_, i) => [insert('twice', { a: String(i) })]));
    const both = await Promise.all([journal.states(), journal.states()]);
    assert.equal(both.flat().filter(([state]) => state === 'replayed').length, 20);
    assert.equal((await rows('twice')).length, 20);
  });
});
