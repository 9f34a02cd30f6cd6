import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Catalog } from '../../../src/sql/catalog.ts';
import { CatalogTables } from '../../../src/sql/catalog-tables.ts';
import { Classifier } from '../../../src/sql/classifier.ts';

const BUILTIN = 'count upper version current_setting max now timezone to_tsvector lower';

const catalog = Catalog.from(
  [
    { kind: 'builtins', schema: null, name: '', info: { volatile: '', all: BUILTIN } },
    {
      kind: 'function',
      schema: 'public',
      name: 'lower',
      info: { types: ['integer'], min: 1, variadic: false, volatile: false, row: false, effects: [], settings: [] },
    },
  ],
  null,
  new CatalogTables([
    { kind: 'now', schema: null, name: '', info: { lsn: '0/100', snapshot: '1000:1000:' } },
    { kind: 'table', schema: 'public', name: 't', info: { oid: 20_000 } },
    { kind: 'table', schema: 'public', name: 'u', info: { oid: 20_001 } },
  ]),
);

const plainOf = (text: string) => new Classifier({ maxEntries: 10 }).classifyText(text, catalog).tables?.plain ?? null;

describe('a read that is plain', () => {
  before(() => Classifier.load());

  for (const text of [
    'select * from t',
    'select a, count(*) from t join public.u using (id) where a between 1 and 2 and b like $$x$$ and c in (1, 2) group by 1',
    'select upper(b), a::int8, cast(c as text), date $$2020-01-01$$, now() at time zone $$UTC$$ from t as x where x.id is not null',
    'with v as (select * from t) select max(id) from v where id not in (select id from u) order by 1 limit 5',
    'select a -> $$b$$ from t; select id from u',
  ]) {
    it(text, () => assert.equal(plainOf(text), true));
  }

  for (const text of [
    'select version() from t',
    'select current_setting($$x$$) from t',
    'select lower(1) from t',
    'select to_tsvector(b) from t',
    'select a::mood from t',
    'select a::public.int8 from t',
    'select a operator(public.=) b from t',
    'select a ~=~ b from t',
    'select tableoid from t',
    'select x.tableoid from t x',
    'select t from t',
    'select x from t x',
    'select current_schema from t',
    'select a from t order by a collate "x"',
    'select id from t; select version() from u',
  ]) {
    it(`is not ${text}`, () => assert.equal(plainOf(text), false));
  }
});
