import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseLsn } from '../../../src/core/lsn.ts';
import type { ControlNodes } from '../../../src/failover/control-nodes.ts';
import { passPartialRecord } from '../../../src/failover/pass-partial-record.ts';

/** A primary at `flushed` that notes what it is told to write, and has it afterwards. */
function primaryAt(flushed: string) {
  const written: { size: number; pieces: number }[] = [];
  let lsn: bigint = parseLsn(flushed);
  const query = async (_node: string, text: string, values: readonly unknown[]) => {
    if (text.includes('pg_logical_emit_message')) {
      const [size, pieces] = values as [number, number];
      written.push({ size, pieces });
      lsn += BigInt(size * pieces);
      return [];
    }
    return [{ flushed: `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`, segment: '16777216' }];
  };
  return { nodes: { query } as unknown as ControlNodes, written };
}

describe('a replica that holds the beginning of a record', () => {
  it('up to the end of a segment: the new primary is brought beyond that', async () => {
    const { nodes, written } = primaryAt('0/5CAA648');
    assert.equal(await passPartialRecord(nodes, 'pg2', parseLsn('0/6000000')), true);
    const [only] = written;
    assert.equal(written.length, 1);
    assert.ok((only?.size ?? 0) * (only?.pieces ?? 0) > 0x6000000 - 0x5caa648);
    assert.ok((only?.size ?? 0) < 2 * 1024 * 1024);
  });

  it('also where it stands just there', async () => {
    const { nodes, written } = primaryAt('0/6000000');
    assert.equal(await passPartialRecord(nodes, 'pg2', parseLsn('0/6000000')), true);
    assert.deepEqual(written, [{ size: 8192, pieces: 1 }]);
  });

  it('nothing is written where the primary is beyond it, or where it ends within a segment', async () => {
    for (const received of ['0/5000000', '0/5CBF000', '0/0']) {
      const { nodes, written } = primaryAt('0/5CAA648');
      assert.equal(await passPartialRecord(nodes, 'pg2', parseLsn(received)), false);
      assert.deepEqual(written, []);
    }
  });
});
