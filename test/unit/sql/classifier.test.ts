import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Classifier } from '../../../src/sql/classifier.ts';
import type { StatementClass } from '../../../src/sql/verdict.ts';
import { SAMPLE } from './sample-catalog.ts';

const CASES: Readonly<Record<string, readonly string[]>> = {
  read: [
    'select 1',
    'SELECT 1;',
    ' ( select 1 ) ',
    '((select 1) union (select 2)) order by 1 limit 3',
    'values (1), (2)',
    'table users',
    '',
    ' ',
    ';',
    ';;',
    '-- nothing',
    '/* nothing */',
    '/* nested /* comment */ */ select 1',
    'select/**/1',
    "select 'it''s', E'it\\'s', $$it's$$, $tag$ $$ $tag$, U&'d\\0061t', B'01', X'FF', N'x'",
    "select 'a'\n  -- and on\n 'b'",
    "select E'a'\n'b\\''",
    'select 1.5e10, .5, 0x1F, 0b01, 1_000, 99999999999999999999, -3',
    'select $1, $2::int, $3::text[]',
    'select "select", "update", "a""b" from "delete"',
    'select "Ümlaut"(1), ünïcode from täble',
    "select 'délété; drop table x' from users",
    'select * from users u join lateral (select * from posts p where p.user_id = u.id) x on true',
    'select * from users where id in (1, 2, 3) and name not in ($1, null, default_name)',
    'select * from users where id = any ($1) and exists (select from posts)',
    'with a as (select 1), b as (select * from a) select * from b',
    'with recursive t(n) as (values (1) union all select n + 1 from t where n < 100) select sum(n) from t',
    'with update as (select 1) select * from update',
    'select count(*) filter (where a), sum(b) over (partition by c order by d rows 3 preceding) from x',
    'select row_number() over w from x window w as (order by y)',
    'select a[1:2], (b).c, array[1,2], row(1,2), case when a then b else c end, a is distinct from b from x',
    'select current_user, session_user, current_date, current_timestamp, localtime, current_schema',
    'select now(), random(), clock_timestamp(), gen_random_uuid(), pg_sleep(0.1), timeofday(), uuidv7()',
    'select inet_server_port(), inet_server_addr(), pg_is_in_recovery(), version()',
    "select current_setting('search_path')",
    "select a at time zone 'UTC', b like 'x' escape '!', extract(year from c) from x",
    'select * from generate_series(1, 10) with ordinality g(i, n)',
    'select * from rows from (generate_series(1, 3), unnest($1)) as t(a, b)',
    'select * from x tablesample system (10) repeatable (1)',
    "select * from xmltable('/a' passing x columns y int path 'z')",
    "select * from json_table(a, '$' columns (b int path '$.b'))",
    "select json_value(a, '$.b'), a is json, json_object('a': 1) from x",
    'select grouping(a) from x group by grouping sets ((a), rollup (b), cube (c, d))',
    'select distinct on (a) a, b from x order by a, b desc nulls last fetch first 3 rows with ties',
    'select 1 union all select 2 intersect select 3 except select 4',
    'select 1; select 2;',
    'explain select 1',
    'explain (analyze, buffers, format json) select * from users',
    'select * from pg_class, pg_catalog.pg_attribute, information_schema.tables',
    'select * from pg_stats',
    'select stable_fn(1), stable_fn(a) from x',
    'select mixed(1)',
    'select mixed($1::int4)',
    'select mixed(1, 2)',
    'select many(1, 2, 3), many(variadic $1)',
    'select public.stable_fn(x => 1)',
    'select pg_catalog.now(), pg_catalog.lower($1)',
    'select * from plain_view',
    'select * from loop_a',
    'select * from public.orders',
    'with counter as (select 1) select * from counter',
    'show search_path',
    'SHOW TRANSACTION ISOLATION LEVEL',
    'show server_version',
  ],
  write: [
    'insert into t values (1)',
    'insert into t select * from s returning id',
    'insert into t values (1) on conflict (a) do update set b = excluded.b',
    'update t set a = 1 from s where s.id = t.id',
    'delete from only t using s',
    'merge into t using s on t.a = s.a when matched then delete when not matched then insert values (1)',
    'with x as (insert into t values (1) returning *) select * from x',
    'with a as (select 1), b as (with c as (delete from t returning *) select * from c) select * from b',
    'select * from (with x as (update t set a = 1 returning *) select * from x) y',
    'with next as (select id from jobs for update skip locked limit 1) update jobs set a = 1 from next',
    'select * from t for update',
    'select * from t for no key update',
    'select * from t for share nowait',
    'select * from t for key share of t skip locked',
    'select * from (select * from t for update) x',
    'select 1 union all (select a from t for update)',
    'select * into copy from t',
    'select 1 into temp copy',
    'select 1; insert into t values (1)',
    'insert into t values (1); select 1',
    'explain analyze insert into t values (1)',
    'explain (analyze false) delete from t',
    'explain delete from t',
    'explain analyze create table x as select 1',
    'explain execute p',
    'explain analyze select volatile_fn()',
    'select volatile_fn()',
    'select public.volatile_fn()',
    'select "volatile_fn"()',
    'select * from volatile_fn()',
    'select * from t where a = (select volatile_fn())',
    'select * from t order by volatile_fn()',
    'select * from t limit volatile_fn()',
    'select * from t join s on volatile_fn()',
    'values (volatile_fn())',
    'select case when true then volatile_fn() end',
    'select array[volatile_fn()], row(volatile_fn())',
    'select sum(volatile_fn()) over (order by volatile_fn())',
    'select count(*) filter (where volatile_fn()) from t',
    'select * from x tablesample system (volatile_fn())',
    'select * from generate_series(1, volatile_fn())',
    "select * from json_table(volatile_fn(), '$' columns (b int path '$'))",
    'select x.a[volatile_fn()] from x',
    'select a in (select volatile_fn()) from x',
    'select stable_fn(volatile_fn())',
    "select mixed('a')",
    'select mixed($1)',
    'select mixed($1::text)',
    'select mixed(a) from x',
    'select elsewhere(1)',
    "select many_volatile('a', 1, 2)",
    'select lower($1)',
    'select unknown_fn(1)',
    'select stable_fn(1, 2, 3)',
    'select nowhere.stable_fn(1)',
    'select pg_temp.stable_fn(1)',
    'select tenant($1)',
    'select locks()',
    'select u.register from users u',
    'select (u).register from users u',
    'select 1 ?~? 2',
    'select 1 operator(public.?~?) 2',
    'select $1::odd',
    'select cast(a as odd[]) from x',
    "select json_exists(a, '$') from x",
    "select nextval('s')",
    "select setval('s', 1)",
    'select lastval()',
    "select currval('s')",
    "select pg_notify('a', 'b')",
    "select set_config('a.b', 'c', false)",
    'select txid_current()',
    'select pg_current_xact_id()',
    'select pg_advisory_lock(1)',
    'select pg_advisory_xact_lock(1, 2)',
    'select pg_export_snapshot()',
    'select pg_backend_pid()',
    'select pg_current_wal_lsn()',
    "select query_to_xml('delete from t', true, true, '')",
    "select table_to_xml('cache', true, true, '')",
    'select lo_create(0), lo_open(1, 2)',
    'select lo_get(1)',
    'select pg_stat_reset()',
    'select * from pg_stat_get_activity(null)',
    'select setseed(0.5)',
    'select last_value from counter',
    'select * from public.counter',
    'select * from cache',
    'select * from remote',
    'select * from orders',
    'select * from pg_temp.x',
    'select * from bad_view',
    'select * from deep_view',
    'select * from stat_view',
    'select * from pg_stat_activity',
    'select * from pg_catalog.pg_stat_replication',
    'select * from pg_locks',
    'select * from pg_settings',
    'select * from ext.pg_stat_statements',
    // Not recursive: the inner name is the table, not the query that is being defined.
    'with counter as (select * from counter) select * from counter',
    'show transaction_read_only',
    'show in_hot_standby',
    'show all',
    'show work_mem',
    'call p(1)',
    'do $$ begin perform 1; end $$',
    'execute p(1)',
    'notify a',
    'lock table t',
    'fetch all from c',
    'move 3 from c',
    "copy t from '/tmp/x'",
    "copy t to program 'cat'",
    'commit prepared $$x$$',
    "rollback prepared 'x'",
    'declare c cursor for select volatile_fn()',
    'refresh materialized view concurrently m',
    'vacuum',
    'analyze t',
    'checkpoint',
    'truncate t',
    'create table t (a int)',
    'create table t as select 1',
    'create materialized view m as select 1',
    'create or replace function f() returns int language sql begin atomic select 1; select 2; end',
    'grant select on t to u',
    'alter system set work_mem = 1',
    "alter role u set search_path = 'x'",
    'reindex table t',
  ],
  begin: ['begin', 'BEGIN WORK;', 'start transaction', 'begin read only', 'begin; -- done'],
  end: ['commit', 'END', 'rollback', 'abort', 'commit and chain', "prepare transaction 'x'"],
  'session-state': [
    'set search_path = a, b',
    'set local x.y = 1',
    "set time zone 'UTC'",
    'set role x',
    'reset all',
    'reset role',
    'discard all',
    'discard plans',
    'set session characteristics as transaction read only',
    'set transaction isolation level repeatable read',
    'set constraints all deferred',
    'listen a',
    'unlisten *',
    'prepare p as select $1',
    'deallocate p',
    'declare c cursor for select 1',
    'declare c cursor with hold for select 1',
    'close all',
    "load 'auto_explain'",
    'savepoint a',
    'release a',
    'rollback to a',
    'set a.b = 1; select 1',
    "SET fairlead.consistency = 'strong'",
    'show fairlead.token',
  ],
  copy: ['copy t from stdin', 'copy t to stdout', 'COPY (select 1) TO STDOUT', 'copy (select volatile_fn()) to stdout'],
  unknown: [
    'selec 1',
    'select from from',
    "select 'open",
    'select $$open',
    'select "open',
    'select /* open',
    'select 1 where (',
    'begin; select 1; commit',
    'select 1; commit',
    'select 1; savepoint a',
    'copy t to stdout; select 1',
    "set fairlead.consistency = 'strong'; select 1",
    "select 'a\\'",
    'select \u0001',
    'select 1 \0 from t',
    "select 'a' 'b'",
    `select ${'('.repeat(20_000)}1${')'.repeat(20_000)}`,
    `select '${'x'.repeat(2_000_000)}'`,
  ],
};

describe('classify', () => {
  before(() => Classifier.load());
  const classifier = new Classifier({ maxEntries: 1000 });

  for (const [expected, texts] of Object.entries(CASES)) {
    for (const text of texts) {
      it(`${expected}: ${JSON.stringify(text.slice(0, 100))}`, () => {
        const verdict = classifier.classifyText(text, SAMPLE);
        assert.equal(verdict.class as StatementClass, expected, verdict.reason);
        assert.ok(Object.isFrozen(verdict));
        assert.equal(classifier.classifyText(text, SAMPLE).class, expected, 'the second time');
        if (expected === 'read') assert.equal(verdict.mayWrite, false);
      });
    }
  }

  it('reads no more of the buffer than it was given', () => {
    const buffer = Buffer.from("xxselect 1'; delete from t");
    assert.equal(classifier.classify(buffer, 2, 10, SAMPLE).class, 'read');
    assert.equal(classifier.classify(buffer, 2, 11, SAMPLE).class, 'unknown');
    assert.equal(classifier.classify(buffer, 2, 2, SAMPLE).statements, 0);
  });

  it('does not trust names that are not UTF-8, but does literals', () => {
    const latin1 = (text: string) => Buffer.from(text, 'latin1');
    const name = latin1('select caf\xe9 from t');
    assert.equal(classifier.classify(name, 0, name.length, SAMPLE).class, 'unknown');
    const literal = latin1("select 'caf\xe9' from t");
    assert.equal(classifier.classify(literal, 0, literal.length, SAMPLE).class, 'read');
    // Shift JIS: the second byte of a character is a backslash.
    const escaped = latin1("select E'\x83\\', volatile_fn() --'");
    assert.equal(classifier.classify(escaped, 0, escaped.length, SAMPLE).class, 'unknown');
  });

  it('calls no function a read before the catalog is known, but for a few', () => {
    assert.equal(classifier.classifyText('select stable_fn(1)', null).class, 'write');
    assert.equal(classifier.classifyText('select count(*) from t', null).class, 'read');
    assert.equal(classifier.classifyText('select pg_advisory_lock(1)', null).pin, 'session advisory lock');
    assert.equal(classifier.classifyText('select stable_fn(1)', SAMPLE).class, 'read', 'a new catalog counts');
  });

  it('learns from a replica that refused', () => {
    const own = new Classifier({ maxEntries: 100 });
    const buffer = Buffer.from('select stable_fn(1)');
    assert.equal(own.classify(buffer, 0, buffer.length, SAMPLE).class, 'read');
    own.learnWrite(buffer, 0, buffer.length, 'a replica refused it');
    const verdict = own.classifyText('select  stable_fn(2)', SAMPLE);
    assert.deepEqual([verdict.class, verdict.reason], ['write', 'a replica refused it']);
    assert.deepEqual(verdict.functions, [{ schema: null, name: 'stable_fn', args: 1 }]);
    assert.equal(own.classifyText('select stable_fn(2)', null).class, 'write', 'with any catalog');
    assert.equal(own.classifyText('select stable_fn(2), 1', SAMPLE).class, 'read', 'other shapes are not meant');
    for (let i = 0; i < 500; i++) own.classifyText(`select a${i}`, SAMPLE);
    assert.equal(own.classifyText('select stable_fn(2)', SAMPLE).class, 'write', 'not displaced by others');
  });

  it('survives texts that are too deep for the parser', async () => {
    const own = new Classifier({ maxEntries: 100 });
    for (const [head, body] of [
      ['select 1', '+1'],
      ['select ', '(select '],
      ['select 1', ' union select 1'],
    ] as const) {
      const text = head + body.repeat(Math.floor(250_000 / body.length));
      assert.notEqual(own.classifyText(text, SAMPLE).class, 'read', text.slice(0, 30));
      await Classifier.load();
      assert.equal(own.classifyText('select 1, 2', SAMPLE).class, 'read');
    }
  });

  it('expects state of a text that is too long to parse', () => {
    // a SET or CREATE TEMP far behind the beginning leaked to the next session
    const classifier = new Classifier({ maxEntries: 10 });
    const long = (head: string, tail = '') => {
      const text = `${head};${Array.from({ length: 60_000 }, (_, i) => ` select c${i} from t${i};`).join('')}${tail}`;
      return classifier.classifyText(text, null);
    };
    assert.equal(long('select 1', "set search_path = 'x'").changesSettings, true);
    assert.equal(long('select 1').pin, 'server state');
    assert.equal(long('insert into t values (1)').pin, null);
    assert.equal(long('insert into t values (1)').changesSettings, true);
    assert.equal(long('insert into t values (1)', 'create temp table x (a int)').pin, 'server state');
    for (const head of ['select 1', 'insert into t values (1)']) assert.notEqual(long(head).class, 'read');
  });
});
