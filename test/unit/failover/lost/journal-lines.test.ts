import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { lsn } from '../../../../src/core/lsn.ts';
import { journalLine } from '../../../../src/failover/lost/journal-lines.ts';
import { RowArena } from '../../../../src/replication/row-arena.ts';

/** The line of so many rows of so many characters: what it says, and the parts that hold rows. */
async function lineOf(count: number, characters: number) {
  const arena = new RowArena(1e8);
  arena.begin();
  const row = Buffer.from(`table public.t: INSERT: a[text]:'${'x'.repeat(characters)}'`);
  for (let i = 0; i < count; i++) arena.append(row);
  const about = { endLsn: lsn(1n), commitMs: 0, xid: 7, tables: [], ddl: false, reason: null };
  const parts = await journalLine({ ...about, rows: arena.take() }, 'UTF8');
  return { line: JSON.parse(parts.join('')), groups: parts.filter((part) => part.startsWith('{"op"')) };
}

describe('the line of a lost transaction', () => {
  it('is made with a break after many rows, or after large ones', async () => {
    const small = await lineOf(450, 1);
    assert.deepEqual([small.line.rows.length, small.groups.length], [450, 3]);
    const large = await lineOf(10, 100_000);
    assert.deepEqual([large.line.rows.length, large.groups.length], [10, 4]);
    assert.deepEqual(large.line.tables, ['public.t']);
  });
});
