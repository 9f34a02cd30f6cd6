import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { writtenAfter } from '../../../../src/failover/recover/row-age.ts';
import {
  deleteStatement,
  findStatement,
  insertStatement,
  inWords,
  updateStatement,
} from '../../../../src/failover/recover/row-statements.ts';
import { SkippedRows } from '../../../../src/failover/recover/skipped-rows.ts';
import type { TableShape } from '../../../../src/failover/recover/table-shape.ts';
import type { RowChange } from '../../../../src/replication/row-change.ts';

const EQUAL = 'OPERATOR(pg_catalog.=)';
const column = (name: string, operator: string | null = EQUAL) => ({ name, sequence: null, operator });
const key = (name: string) => ({ name, operator: EQUAL });

const SHAPE: TableShape = {
  ...{ name: 'public."T"', kind: 'r', identity: 'd', triggers: false, deferrable: false, cascades: false },
  ...{ columns: [column('id'), column('a"b'), column('j', null)], known: new Set(['id', 'a"b', 'j', 'made']) },
  ...{ key: [key('id')], primary: [key('id')], refers: [], referred: [] },
};
const KEYLESS: TableShape = { ...SHAPE, identity: 'f', key: [], primary: [] };
const T = { schema: 'public', table: 'T' };

describe('statements that replay rows', () => {
  it('insert what can be written, and nothing that is there', () => {
    const { text, values } = insertStatement(SHAPE, { id: '1', 'a"b': null, made: '2' });
    assert.equal(
      text,
      'INSERT INTO public."T" ("id", "a""b") OVERRIDING SYSTEM VALUE VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING xmin::text',
    );
    assert.deepEqual(values, ['1', null]);
    const none = insertStatement({ ...SHAPE, columns: [] }, {});
    assert.match(none.text, /^INSERT INTO public."T" DEFAULT VALUES ON CONFLICT DO NOTHING/);
  });

  it('change and delete the row that was found', () => {
    assert.deepEqual(updateStatement(SHAPE, { 'a"b': 'x', j: null }, '(0,1)'), {
      text: 'UPDATE public."T" SET "a""b" = $2, "j" = $3 WHERE ctid = $1::tid RETURNING xmin::text',
      values: ['(0,1)', 'x', null],
    });
    assert.deepEqual(deleteStatement(SHAPE, '(0,1)').values, ['(0,1)']);
  });

  it('find it by its key; without one by all that can be compared', () => {
    const found = findStatement(SHAPE, { id: '1', 'a"b': 'x' });
    assert.match(found?.text ?? '', /"id", "a""b", "j" FROM public."T" WHERE "id" OPERATOR\(pg_catalog.=\) \$1 LIMIT/);
    assert.deepEqual(found?.values, ['1']);
    assert.equal(findStatement(SHAPE, { 'a"b': 'x' }), null);
    const wholly = findStatement(KEYLESS, { id: '1', j: '{}' });
    assert.match(wholly?.text ?? '', /WHERE "id" OPERATOR\(pg_catalog.=\) \$1 AND "a""b" IS NULL LIMIT/);
  });

  it('are told in words that can be printed anywhere', () => {
    const long = 'y'.repeat(100);
    assert.equal(
      inWords({ op: 'insert', ...T, new: { id: '1', 'a"b': "it's\u001b[2J\n", j: null, made: '2' } }, SHAPE),
      `INSERT INTO public."T" (id, "a""b", j) VALUES ('1', 'it''s [2J ', NULL)`,
    );
    assert.equal(
      inWords({ op: 'update', ...T, old: null, new: { id: '1', 'a"b': long } }, SHAPE),
      `UPDATE public."T" SET "a""b" = '${'y'.repeat(60)}…' WHERE id = '1'`,
    );
    assert.equal(
      inWords({ op: 'update', ...T, old: { id: '1' }, new: { id: '2' } }, SHAPE),
      `UPDATE public."T" SET id = '2' WHERE id = '1'`,
    );
    assert.equal(
      inWords({ op: 'update', ...T, old: null, new: { id: '1', 'a"b': 'x', j: '{}' } }, SHAPE, { j: '{}' }),
      `UPDATE public."T" SET j = '{}' WHERE id = '1'`,
    );
    assert.equal(inWords({ op: 'delete', ...T, old: null }, null), 'DELETE FROM public."T" WHERE ?');
  });
});

describe('whether a row is newer than the fork', () => {
  it('compares ids of 32 bits with those of 64, across a wraparound', () => {
    assert.equal(writtenAfter(1000n, 999, 2000n), false);
    assert.equal(writtenAfter(1000n, 1000, 2000n), true);
    // newer than the question
    assert.equal(writtenAfter(1000n, 2500, 2000n), true);
    const epoch = 1n << 32n;
    assert.equal(writtenAfter(epoch + 1000n, 999, epoch + 2000n), false);
    assert.equal(writtenAfter(epoch + 1000n, 1500, epoch + 2000n), true);
    assert.equal(writtenAfter(epoch + 1000n, 0xfffffff0, epoch + 2000n), false, 'of the epoch before');
    assert.equal(writtenAfter(0xfffffff0n, 5, epoch + 10n), true, 'wrapped since the fork');
  });
});

describe('rows that were not replayed', () => {
  const insert = (id: string): RowChange & { op: 'insert' } => ({ op: 'insert', ...T, new: { id } });
  const update = (id: string, old: string | null = null): RowChange & { op: 'update' } => ({
    ...{ op: 'update', ...T, new: { id }, old: old === null ? null : { id: old } },
  });

  it('keep later changes of the same rows from being replayed', () => {
    const skipped = new SkippedRows();
    skipped.add(update('2', '1'), SHAPE);
    assert.match(skipped.obstacle(update('1'), SHAPE) ?? '', /this row/);
    assert.match(skipped.obstacle(update('2'), SHAPE) ?? '', /this row/);
    assert.match(skipped.obstacle(insert('1'), SHAPE) ?? '', /this row/);
    assert.equal(skipped.obstacle(update('3'), SHAPE), null);
    assert.equal(skipped.obstacle(update('1'), { ...SHAPE, name: 'public.other' }), null);
  });

  it('where nobody knows which, of the whole table, but for new rows', () => {
    const skipped = new SkippedRows();
    skipped.addTables([SHAPE.name]);
    assert.match(skipped.obstacle(update('1'), SHAPE) ?? '', /this table/);
    assert.equal(skipped.obstacle(insert('1'), SHAPE), null);
    const other = { ...SHAPE, name: 'public.other' };
    assert.equal(skipped.obstacle(update('1'), other), null);
    skipped.addTables([]);
    assert.match(skipped.obstacle(update('1'), other) ?? '', /this table/);
  });
});
