import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseLsn } from '../../../src/core/lsn.ts';
import { observationOf, type ProbeRow } from '../../../src/monitor/probe.ts';

const PRIMARY: ProbeRow = {
  in_recovery: false,
  version: 150_010,
  system_id: '7',
  started_at: 1,
  timeline: 3,
  position: '0/3002000',
  durable: '0/3001F00',
  replay_paused: false,
  block_bytes: 8192,
  segment_bytes: 16 * 1024 * 1024,
  wal_level: 'logical',
  read_only: false,
  fence: null,
  mark: null,
  receiver_pid: null,
  receiver_status: null,
  sender_host: null,
  sender_port: null,
  slot_name: null,
  received_tli: null,
  receiver_silent_ms: null,
  clock_ms: 0,
};
const REPLICA: ProbeRow = { ...PRIMARY, in_recovery: true };
const FACTS = { node: 'pg1', sequence: 1, startedMs: 0, finishedMs: 1, clockOffsetMs: 0, timelineBefore: 0 };

describe('observation of a probe', () => {
  it('takes the page header off the insert position of a primary', () => {
    const seen = observationOf({ ...PRIMARY, position: '0/3002018' }, FACTS);
    assert.equal(seen.role, 'primary');
    assert.equal(seen.replayLsn, parseLsn('0/3002000'));
    assert.equal(seen.receiveLsn, parseLsn('0/3001F00'));
  });

  it('never says that a restarted replica received less than it replayed', () => {
    // pg_last_wal_receive_lsn() is the start of a segment until the receiver has streamed
    const seen = observationOf({ ...REPLICA, position: '1/862B9CC0', durable: '1/86000000' }, FACTS);
    assert.equal(seen.replayLsn, parseLsn('1/862B9CC0'));
    assert.equal(seen.receiveLsn, parseLsn('1/862B9CC0'));
  });

  it('does not fall back to the timeline of an old checkpoint when the receiver is gone', () => {
    assert.equal(observationOf({ ...REPLICA, timeline: 2 }, { ...FACTS, timelineBefore: 3 }).timeline, 3);
  });

  it('knows that somebody streams even where it may not see who', () => {
    assert.equal(observationOf({ ...REPLICA, receiver_pid: 5 }, FACTS).receiver?.status, 'hidden');
    assert.equal(observationOf(REPLICA, FACTS).receiver, null);
  });
});
