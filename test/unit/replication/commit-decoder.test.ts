import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CommitDecoder, parseCommitTime } from '../../../src/replication/commit-decoder.ts';
import { messagesIn } from '../../../src/replication/row-arena.ts';

function decode(...messages: string[]): CommitDecoder {
  const decoder = new CommitDecoder({ slot: 's', rowBytes: 1000, started() {} });
  for (const message of messages) decoder.parse(Buffer.from(message));
  return decoder;
}

const COMMIT = 'COMMIT (at 2026-11-21 01:26:30.96216+00)';

describe('commit decoder', () => {
  it('tells the tables and the time of a transaction', () => {
    const d = decode(
      'BEGIN',
      "table public.t: INSERT: a[integer]:1 b[text]:'table x.y: DELETE:'",
      "table public.t: UPDATE: a[integer]:1 b[text]:'z'",
      'table public.u: DELETE: (no-tuple-data)',
      COMMIT,
    );
    assert.deepEqual([...d.tables], ['public.t', 'public.u']);
    assert.equal(d.opaque, false);
    assert.equal(d.commitMs, Date.UTC(2026, 10, 21, 1, 26, 30) + 962.16);
  });

  it('reads quoted names and lists of them', () => {
    const d = decode('BEGIN', 'table "we:ird"."na"".me: x", public."a,b", s.t: TRUNCATE: restart_seqs', COMMIT);
    assert.deepEqual([...d.tables], ['"we:ird"."na"".me: x"', 'public."a,b"', 's.t']);
  });

  it('does not take a table for another one whose name begins alike', () => {
    const d = decode('BEGIN', 'table public.t: INSERT: a[integer]:1', 'table public.t2: INSERT: a[integer]:1', COMMIT);
    assert.deepEqual([...d.tables], ['public.t', 'public.t2']);
  });

  it('reads a message shorter than the name of the table before it', () => {
    // the comparison with the last table's name ended the stream with a RangeError: TRUNCATE of many tables, then a short row
    const long = `public.${'x'.repeat(60)}`;
    const d = decode(
      'BEGIN',
      `table ${long}, public.t: TRUNCATE: (no-flags)`,
      'table public.t: DELETE: (no-tuple-data)',
      COMMIT,
    );
    assert.deepEqual([...d.tables], [long, 'public.t']);
  });

  it('names a table in every transaction that touches it', () => {
    const d = decode(
      'BEGIN',
      'table public.t: INSERT: a[integer]:1',
      COMMIT,
      'BEGIN',
      'table public.t: INSERT: a[integer]:2',
      COMMIT,
    );
    assert.deepEqual([...d.tables], ['public.t']);
  });

  it('tells of a transaction that changed what no table tells', () => {
    assert.equal(decode('BEGIN', COMMIT).untold, true);
    assert.equal(
      decode('BEGIN', 'message: transactional: 1 prefix: fairlead, sz: 9 content:heartbeat', COMMIT).untold,
      false,
    );
  });

  it('reads DDL marks, and no other messages', () => {
    const d = decode(
      'BEGIN',
      'message: transactional: 1 prefix: fairlead.ddl, sz: 11 content:16384,16385',
      'message: transactional: 0 prefix: fairlead.ddl, sz: 1 content:*',
      'message: transactional: 1 prefix: app, sz: 1 content:x',
      COMMIT,
    );
    assert.deepEqual(d.ddl, ['16384,16385']);
  });

  it('copies what was said of rows, but for tables of its own', () => {
    const said = [
      'table public.t: INSERT: a[integer]:1',
      'table public.t: INSERT: a[integer]:2',
      'table fairlead.events: INSERT: a[integer]:3',
      'table fairlead.events: INSERT: a[integer]:4',
      'table "fairlead.x".t: DELETE: (no-tuple-data)',
      'table fairlead.events, public.u: TRUNCATE: (no-flags)',
    ];
    const d = decode('BEGIN', ...said, COMMIT);
    const copied = d.rows
      .take()
      .flatMap((piece) => Array.from(messagesIn(piece), (message) => `${Buffer.from(message)}`));
    assert.deepEqual(copied, [said[0], said[1], said[4], said[5]]);
    d.parse(Buffer.from('BEGIN'));
    assert.equal(d.rows.copiedBytes, 0);
    d.parse(Buffer.from(`table public.t: INSERT: a[text]:'${'x'.repeat(2000)}'`));
    assert.equal(d.rows.leftOut, true);
  });

  it('reads times without a fraction', () => {
    assert.equal(parseCommitTime('COMMIT (at 2026-11-21 01:26:30+00)'), Date.UTC(2026, 10, 21, 1, 26, 30));
    assert.throws(() => parseCommitTime('COMMIT'), RangeError);
  });
});
