import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Classifier } from '../../../src/sql/classifier.ts';
import { keyToSql, LiteralKey } from '../../../src/sql/literal-key.ts';
import { SAMPLE } from './sample-catalog.ts';

function keyOf(text: string): string | null {
  const key = new LiteralKey();
  const buffer = Buffer.from(`${text}; no more`);
  return key.build(buffer, 0, Buffer.byteLength(text)) ? key.copy().toString('latin1') : null;
}

const SAME: readonly (readonly string[])[] = [
  ["select 'a'", "select 'b'", "select ''", "select 'it''s'", "select E'\\''", 'select $$x$$', "select $a$ $$ ' $a$"],
  ["select  'a'  ;", "select\n\t'a' -- x\n;", "select /* c /* d */ */ 'a' ;"],
  ["select 'a'", "select 'a'\n'b'", "select 'a' -- x\n  'b'", "select E'a'\n'b\\'c'", "select U&'x'", "select n'x'"],
  ['select 1', 'select 999999999', 'select 007'],
  ['select 1.5', 'select .5', 'select 1e5', 'select 1.', 'select 1E-5'],
  ['select 12345678901', 'select 0x1F', 'select 0o17', 'select 1_000'],
  ["select b'01'", "select X'ff'", "select B''"],
  ['a in (1)', 'a in (1, 2, 3)', "a IN ('x', 'y')", 'a in ($1, $2)', 'a in (-1, null)', 'a in ( 1 )'].map(
    (where) => `select a from t where ${where.replace('IN', 'in').replace('null', '1')}`,
  ),
  [
    'insert into t values (1, $1)',
    'insert into t values (1, $1),(2, $1)',
    'insert into t values (1, $1), (2, $1), (3, $1)',
  ],
  ["select set_config('a.b', 'c', true)", "select set_config('a.b', 'd', true)"],
];

const DIFFERENT: readonly (readonly string[])[] = [
  [
    'select 1',
    "select '1'",
    'select 1.0',
    'select 9999999999',
    "select b'1'",
    'select $1',
    'select $2',
    'select a',
    'select "a"',
  ],
  ['select f(1)', 'select f(1, 2)', 'select f((1, 2))', 'select f((1, 2), (3, 4))', 'select f(values (1))'],
  ['select /* fairlead: primary */ 1', 'select /* fairlead: replica */ 1', 'select 1'],
  ["set a.b = 'x'", "set a.b = 'y'"],
  ['do $$x$$', 'do $$y$$'],
  ["select set_config('a.b', 'c', true)", "select set_config('a.c', 'c', true)"],
  ["select 1; set a.b = 'x'", "select 1; set a.b = 'y'"],
  ["prepare p as select 'x'", "prepare p as select 'y'"],
  ['select "a"', 'select "A"', 'select a'],
  ['select x.in (1)', 'select x.in (1, 2)'],
  ['select x.values ((1))', 'select x.values ((1), (1))'],
  ["select 'a\\'", "select 'a'"],
  ['insert into t values (1)', "insert into t values (1), ('a')", 'insert into t values (1), (f())'],
  ['select a in (1, 2)', 'select a in (1, b)', 'select a in (select 1)'],
];

const NONE = [
  "select 'open",
  "select E'open\\'",
  'select "open',
  'select $$open',
  'select /* open',
  'select \u0001',
  'a\0b',
];

describe('the key of a text', () => {
  for (const texts of SAME) {
    it(`is the same: ${texts[0]}`, () => {
      for (const text of texts) assert.equal(keyOf(text), keyOf(texts[0] as string), text);
    });
  }
  for (const texts of DIFFERENT) {
    it(`differs: ${texts[0]}`, () => {
      assert.equal(new Set(texts.map(keyOf)).size, texts.length);
    });
  }
  for (const text of NONE) it(`is none: ${JSON.stringify(text)}`, () => assert.equal(keyOf(text), null));

  it('keeps a hint and drops other comments', () => {
    assert.equal(keyOf("/* traceparent='x' */ select 1 -- fairlead: primary"), keyOf(' select 1'.trim()));
    assert.match(keyOf('select 1 /* fairlead: replica */') ?? '', /fairlead: replica/);
    assert.doesNotMatch(keyOf("select '/* fairlead: replica */'") ?? '', /fairlead/);
    assert.match(keyOf('select a in (1, /* fairlead: replica */ 2)') ?? '', /fairlead: replica/);
  });

  it('renders to a text with the same key', () => {
    for (const text of [...SAME.flat(), ...DIFFERENT.flat()]) {
      if (/set_config|^set|;|in \(|\\'|values \(/.test(text)) continue;
      const key = keyOf(text) as string;
      const again = keyOf(keyToSql(Buffer.from(key, 'latin1'))) as string;
      assert.equal(again.replace(/ /g, ''), key.replace(/ /g, ''), text);
    }
  });

  it('is made alike wherever the text stands in the buffer', () => {
    const key = new LiteralKey();
    const text = "select 'a', $$b$$, 1 from t where x in (1,2)";
    const wanted = keyOf(text);
    for (let at = 0; at < 20; at++) {
      const buffer = Buffer.from(`${"'".repeat(at)}${text}'$$`);
      assert.ok(key.build(buffer, at, at + text.length));
      assert.equal(key.copy().toString('latin1'), wanted);
    }
  });
});

describe('texts with one key', () => {
  before(() => Classifier.load());

  /** A small generator: no library, the same sequence each run. */
  let seed = 42;
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % n;
  };
  const STRINGS = [
    "'a'",
    "''",
    "'it''s; delete from t'",
    "E'\\''",
    '$$;$$',
    "$q$ $$ ' $q$",
    "N'x'",
    "'--'",
    "'/*'",
    "'a'\n'b'",
  ];
  const INTEGERS = ['0', '1', '42', '999999999'];
  const NUMBERS = ['1.5', '.5', '1e9', '3.'];
  const TEMPLATES = [
    'select S, I, N from users where a = S and b > I limit I',
    'select mixed(I), mixed(S) from t',
    'select mixed(I, I) -- S',
    'insert into t values (S, I), (S, I)',
    'select * from t where a in (I, I, I) or b in (S, S) order by I',
    'with x as (select S::text) select stable_fn(I) from x',
    'update t set a = S, b = N where c = I returning *',
    "select set_config('app.x', S, true), I",
    'select S; select I; select N',
    'explain select S',
    'select S from t for update',
    'select nextval(S), pg_advisory_lock(I)',
    'values (S), (S)',
    "select interval 'x' + I, a[I:I], -I, I::int8 from x",
  ];

  it('have one verdict, fresh or cached', () => {
    const cached = new Classifier({ maxEntries: 1000 });
    const byKey = new Map<string, string>();
    for (let run = 0; run < 3000; run++) {
      const template = TEMPLATES[run % TEMPLATES.length] as string;
      const text = template.replace(/\b[SIN]\b/g, (kind) => {
        const pool = kind === 'S' ? STRINGS : kind === 'I' ? INTEGERS : NUMBERS;
        return pool[random(pool.length)] as string;
      });
      const key = keyOf(text);
      assert.notEqual(key, null, text);
      const fresh = JSON.stringify(new Classifier({ maxEntries: 2 }).classifyText(text, SAMPLE));
      assert.equal(JSON.stringify(cached.classifyText(text, SAMPLE)), fresh, text);
      assert.equal(fresh, byKey.get(key as string) ?? fresh, text);
      byKey.set(key as string, fresh);
    }
    assert.ok(cached.hits > 2500, `${cached.hits} hits`);
  });

  it('never throw, and are never reads with a write inside, whatever bytes come', () => {
    const classifier = new Classifier({ maxEntries: 1000 });
    const PIECES = [
      "'",
      '"',
      '$$',
      '$a$',
      '/*',
      '*/',
      '--',
      '\n',
      '\\',
      "E'",
      "U&'",
      '(',
      ')',
      ';',
      ' ',
      'a',
      '1',
      'select ',
      '\0',
      'é',
    ];
    for (let run = 0; run < 5000; run++) {
      let text = 'select ';
      for (let i = random(12); i >= 0; i--) text += PIECES[random(PIECES.length)];
      classifier.classifyText(text, SAMPLE);
      const verdict = classifier.classifyText(`select 1; delete from t; ${text}`, SAMPLE);
      assert.notEqual(verdict.class, 'read', text);
    }
  });
});
