import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SubscribedTables } from '../../../src/monitor/subscribed-tables.ts';
import type { PublishedTable, SubscribedTable } from '../../../src/monitor/subscriber-probe.ts';

const THERE: SubscribedTable = {
  schema: 'public',
  name: 't',
  state: 'r',
  copied: '0/100',
  only: true,
  definition: 'd',
};
const HERE: PublishedTable = { oid: 20_000, schema: 'public', name: 't', whole: true, definition: 'd' };

describe('tables of a subscription', () => {
  const compare = (there: Partial<SubscribedTable>, here: Partial<PublishedTable> | null = {}) => {
    const { tables, leftOut } = new SubscribedTables().compare(
      '16400',
      [{ ...THERE, ...there }],
      here === null ? [] : [{ ...HERE, ...here }],
    );
    return [...tables, ...leftOut].join();
  };

  for (const [expected, there, here] of [
    ['20000', {}, {}],
    ['public.t is being copied', { state: 'd' }, {}],
    ['public.t is being copied', { state: 's' }, {}],
    ['public.t was not copied', { copied: null }, {}],
    ['public.t is not published', {}, null],
    ['public.t is not published', {}, { schema: 'other' }],
    ['public.t is published in part', {}, { whole: false }],
    ['public.t has a namesake there', { only: false }, {}],
    ['public.t is of a kind that is not read there', { definition: null }, {}],
    ['public.t is of a kind that is not read there', {}, { definition: null }],
    ['public.t differs in columns or privileges', { definition: 'e' }, {}],
  ] as const) {
    it(`${expected}: ${JSON.stringify(there)} ${JSON.stringify(here)}`, () =>
      assert.equal(compare(there, here), expected));
  }

  it('stay out after another table was given the name, until they are copied anew', () => {
    const known = new SubscribedTables();
    known.compare('16400', [THERE], [HERE]);
    const other = { ...HERE, oid: 20_001 };
    assert.deepEqual(known.compare('16400', [THERE], [other]).leftOut, [
      'public.t is another table on the primary now',
    ]);
    assert.deepEqual([...known.compare('16400', [{ ...THERE, copied: '0/200' }], [other]).tables], [20_001]);
  });

  it('stay out after they were published in part, until they are copied anew', () => {
    const known = new SubscribedTables();
    known.compare('16400', [THERE], [{ ...HERE, whole: false }]);
    assert.deepEqual(known.compare('16400', [THERE], [HERE]).leftOut, ['public.t was published in part']);
    assert.deepEqual([...known.compare('16400', [{ ...THERE, copied: '0/200' }], [HERE]).tables], [20_000]);
    assert.deepEqual([...known.compare('16500', [THERE], [HERE]).tables], [20_000]);
  });
});
