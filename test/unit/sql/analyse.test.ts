import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Classifier } from '../../../src/sql/classifier.ts';
import type { PinReason, Verdict } from '../../../src/sql/verdict.ts';
import { SAMPLE } from './sample-catalog.ts';

const classifier = new Classifier({ maxEntries: 1000 });
const verdict = (text: string): Verdict => classifier.classifyText(text, SAMPLE);

const PINS: Readonly<Record<PinReason | 'none', readonly string[]>> = {
  'temporary table': [
    'create temp table x (a int)',
    'create local temporary table x (a int) on commit delete rows',
    'create temp table x as select 1',
    'select 1 into temporary x',
    'create temp view x as select 1',
    'create temp sequence x',
    'create table pg_temp.x (a int)',
    "create function pg_temp.f() returns int language sql as 'select 1'",
    'create type pg_temp.t as (a int)',
    'set search_path = pg_temp, public',
    'do $$ begin create temp table x (a int); end $$',
    'select makes_temp()',
    'select 1; create temp table x (a int)',
    'explain analyze create temp table x as select 1',
  ],
  'session advisory lock': [
    'select pg_advisory_lock(1)',
    'select pg_try_advisory_lock(1, 2) from t',
    'select pg_catalog.pg_advisory_lock_shared(1)',
    'select pg_try_advisory_lock_shared(1)',
    'select locks()',
    'update t set a = 1 where pg_advisory_lock(a) is null',
    'do $$ begin perform pg_advisory_lock(1); end $$',
    'copy (select pg_advisory_lock(1)) to stdout',
  ],
  'sql prepare': ['prepare p as select 1'],
  'cursor with hold': ['declare c cursor with hold for select 1', 'declare c scroll cursor with hold for select 1'],
  listen: ['listen a', "do $$ begin execute 'listen a'; end $$"],
  load: ["load 'x'"],
  'session authorization': ['set session authorization x', "set session_authorization = 'x'"],
  'sequence state': ["select currval('s')", 'select lastval()', "insert into t values (currval('s'))"],
  'server state': ['select setseed(0.1)', 'set seed = 0.1', "select dblink_connect('x')"],
  pg_backend_pid: [
    'select pg_backend_pid()',
    'select pg_backend_pid() as pid, now()',
    'select * from pg_backend_pid()',
    'insert into t values (pg_backend_pid())',
  ],
  'large object': [],
  none: [
    'select 1 from pg_stat_activity where pid = pg_backend_pid()',
    'create temp table x (a int) on commit drop',
    'create temp table x on commit drop as select 1',
    'select pg_advisory_xact_lock(1)',
    "select nextval('s')",
    'insert into t values (1) returning id',
    'declare c cursor for select 1',
    'select lo_open(1, 2)',
    'set session authorization default',
    'set local session authorization x',
    'drop table pg_temp.x',
    'discard all',
    'select 1',
    'do $$ begin update t set a = 1; end $$',
  ],
};

describe('analysis', () => {
  before(() => Classifier.load());

  for (const [pin, texts] of Object.entries(PINS)) {
    for (const text of texts) {
      it(`pin ${pin}: ${text}`, () => assert.equal(verdict(text).pin, pin === 'none' ? null : pin));
    }
  }

  const SETTINGS: readonly (readonly [string, boolean, readonly string[]])[] = [
    ["set MyApp.Name = 'x'", true, ['myapp.name']],
    ['set local work_mem = 1', false, ['work_mem']],
    ["set time zone 'UTC'", true, ['timezone']],
    ["set names 'utf8'", true, ['client_encoding']],
    ['set role x', true, ['role']],
    ['reset search_path', true, ['search_path']],
    ['set x.y to default', true, ['x.y']],
    ['reset all', true, []],
    ['discard all', true, []],
    ['discard temp', false, []],
    [
      'set session characteristics as transaction read only, isolation level serializable',
      true,
      ['default_transaction_read_only', 'default_transaction_isolation'],
    ],
    ['set transaction read only', false, []],
    ['set transaction_isolation = serializable', false, ['transaction_isolation']],
    ["select set_config('A.b', 'x', false)", true, ['a.b']],
    ["select set_config('a.b', 'x', true)", false, ['a.b']],
    ["select set_config('a.b', 'x', $1)", true, ['a.b']],
    ["select set_config(new_value => 'x', setting_name => 'a.b', is_local => false)", true, []],
    ['select set_config($1, $2, $3)', true, []],
    ['select tenant($1)', true, ['app.tenant']],
    ["do $$ begin perform set_config('a.b', 'c', false); set x.y = 1; end $$", true, ['a.b', 'x.y']],
    ['do $$ begin update t set a = 1; end $$', false, []],
    ["insert into t select set_config('a.b', 'x', false)", true, ['a.b']],
    ['set a.b = 1; set c.d = 2', true, ['a.b', 'c.d']],
    ['begin; set a.b = 1; commit', true, ['a.b']],
    ['select 1', false, []],
  ];
  for (const [text, changes, names] of SETTINGS) {
    it(`settings: ${text}`, () => {
      assert.equal(verdict(text).changesSettings, changes);
      // set_config's names come without their value when arguments are named
      if (!text.includes('=>')) assert.deepEqual(verdict(text).settings, names);
    });
  }

  it('transactions', () => {
    const modes = (text: string) => [verdict(text).class, verdict(text).readOnly, verdict(text).isolation];
    assert.deepEqual(modes('begin'), ['begin', null, null]);
    assert.deepEqual(modes('begin read only'), ['begin', true, null]);
    assert.deepEqual(modes('start transaction read write, isolation level repeatable read'), [
      'begin',
      false,
      'repeatable read',
    ]);
    assert.deepEqual(modes('BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE'), [
      'begin',
      true,
      'serializable',
    ]);
    assert.deepEqual(modes('set transaction read only'), ['session-state', true, null]);
    assert.deepEqual(modes("set default_transaction_isolation = 'SERIALIZABLE'"), [
      'session-state',
      null,
      'serializable',
    ]);
  });

  it('commands to Fairlead', () => {
    const command = (text: string) => verdict(text).command;
    assert.deepEqual(command("SET fairlead.consistency = 'strong'"), {
      kind: 'set',
      name: 'consistency',
      value: 'strong',
      local: false,
    });
    assert.deepEqual(command('set session fairlead.consistency to strong'), {
      kind: 'set',
      name: 'consistency',
      value: 'strong',
      local: false,
    });
    assert.deepEqual(command("set local Fairlead.Max_Staleness = '5s'"), {
      kind: 'set',
      name: 'max_staleness',
      value: '5s',
      local: true,
    });
    assert.deepEqual(command("set fairlead.token = '1/0/16B3748'"), {
      kind: 'set',
      name: 'token',
      value: '1/0/16B3748',
      local: false,
    });
    assert.deepEqual(command("set fairlead.token = ''"), { kind: 'set', name: 'token', value: '', local: false });
    assert.deepEqual(command('set fairlead.max_staleness = 500'), {
      kind: 'set',
      name: 'max_staleness',
      value: '500',
      local: false,
    });
    assert.deepEqual(command('reset fairlead.consistency'), {
      kind: 'set',
      name: 'consistency',
      value: null,
      local: false,
    });
    assert.deepEqual(command('set local fairlead.consistency to default'), {
      kind: 'set',
      name: 'consistency',
      value: null,
      local: true,
    });
    assert.deepEqual(command('show fairlead.route'), { kind: 'show', name: 'route' });
    assert.equal(command("set fairlead.consistency = 'strong'; select 1"), null);
    assert.equal(command('show search_path'), null);
  });

  it('hints', () => {
    const hint = (text: string) => verdict(text).hint;
    assert.deepEqual(hint('/* fairlead: primary */ select 1'), { target: 'primary', maxStalenessMs: null });
    assert.deepEqual(hint('select 1 /*fairlead:replica*/'), { target: 'replica', maxStalenessMs: null });
    assert.deepEqual(hint('select /* FAIRLEAD: Replica, max_staleness=1.5s */ 1'), {
      target: 'replica',
      maxStalenessMs: 1500,
    });
    assert.deepEqual(hint('/* fairlead: max_staleness=500ms\n*/ select 1'), { target: null, maxStalenessMs: 500 });
    assert.deepEqual(hint('/* fairlead: replica primary */ select 1'), { target: 'primary', maxStalenessMs: null });
    assert.equal(hint('/* fairlead: nothing known */ select 1'), null);
    assert.equal(hint('/* see fairlead: primary */ select 1'), null);
    assert.equal(hint("select '/* fairlead: primary */'"), null);
  });

  it('what ends', () => {
    assert.equal(verdict('discard all').unpin, 'all');
    assert.equal(verdict('discard all; listen a').unpin, null);
    assert.deepEqual(verdict('unlisten *').releases, ['listen']);
    assert.deepEqual(verdict('unlisten a').releases, []);
    assert.deepEqual(verdict('discard temp').releases, ['temporary table']);
    assert.deepEqual(verdict('close all').releases, ['cursor with hold']);
    assert.deepEqual(verdict('deallocate all').releases, ['sql prepare']);
    assert.deepEqual(verdict('select pg_advisory_unlock_all()').releases, ['session advisory lock']);
    assert.deepEqual(verdict('reset session authorization').releases, ['session authorization']);
    assert.deepEqual(verdict('deallocate "p 1"').statementUses, [{ kind: 'deallocate', name: 'p 1' }]);
    assert.deepEqual(verdict('discard all').statementUses, [{ kind: 'deallocate', name: null }]);
  });

  it('changes of the schema that the catalog tells of', () => {
    assert.deepEqual(verdict('create sequence q').altersSchema, ['q']);
    assert.deepEqual(verdict('create unlogged table a.b (c int)').altersSchema, ['b']);
    assert.deepEqual(verdict('create unlogged table b as select 1').altersSchema, ['b']);
    assert.deepEqual(verdict('select 1 as x into unlogged b').altersSchema, ['b']);
    assert.deepEqual(verdict('create view v as select 1; create sequence q').altersSchema, ['v', 'q']);
    const all = ['alter table t set unlogged', 'alter table t rename to u', 'create or replace view v as select 1'];
    const functions = ["create function f() returns int language sql as 'select 1'", 'alter function f() volatile'];
    for (const text of [...all, ...functions]) assert.equal(verdict(text).altersSchema, 'all', text);
    const harmless = ['create table t (a serial)', 'create temp sequence q', 'drop table t', 'alter table t add a int'];
    for (const text of [...harmless, 'create index i on t (a)', 'select 1 as x into b'])
      assert.equal(verdict(text).altersSchema, undefined, text);
  });

  it('relations and functions, each once, without the names of WITH queries', () => {
    const v = verdict(
      'with a as (select * from s.b) select f(1), f(2), f(1, 2) from a, b, b x, "C" where exists (table d)',
    );
    assert.deepEqual(v.relations, [
      { schema: 's', name: 'b' },
      { schema: null, name: 'b' },
      { schema: null, name: 'C' },
      { schema: null, name: 'd' },
    ]);
    assert.deepEqual(v.functions, [
      { schema: null, name: 'f', args: 1 },
      { schema: null, name: 'f', args: 2 },
    ]);
    assert.deepEqual(verdict('with t as (select * from t) insert into t select * from t').relations, [
      { schema: null, name: 't' },
    ]);
  });

  it('what cannot have written', () => {
    for (const text of [
      'select pg_backend_pid()',
      'select * from pg_locks',
      'set a.b = 1',
      'show all',
      'lock table t',
      'rollback',
      'explain delete from t',
    ]) {
      assert.equal(verdict(text).mayWrite, false, text);
    }
    for (const text of [
      'select volatile_fn()',
      "select nextval('s')",
      'select * from t for update',
      'commit',
      'call p()',
      'fetch c',
      'nonsense',
    ]) {
      assert.equal(verdict(text).mayWrite, true, text);
    }
  });

  it('counts statements', () => {
    assert.deepEqual(
      ['', ';;', 'select 1;', 'select 1; select 2', 'nonsense'].map((text) => verdict(text).statements),
      [0, 0, 1, 2, 1],
    );
  });
});
