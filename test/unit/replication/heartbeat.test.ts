import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { heartbeatDue } from '../../../src/replication/heartbeat.ts';
import { streamFault } from '../../../src/replication/stream-fault.ts';

describe('heartbeat', () => {
  it('leaves an idle cluster alone for ten seconds', () => {
    assert.equal(heartbeatDue({ sinceLastMs: 9000, moved: false, waiting: false }), false);
    assert.equal(heartbeatDue({ sinceLastMs: 10_000, moved: false, waiting: false }), true);
  });

  it('beats once a second when the WAL moves or somebody waits', () => {
    assert.equal(heartbeatDue({ sinceLastMs: 999, moved: true, waiting: true }), false);
    assert.equal(heartbeatDue({ sinceLastMs: 1000, moved: true, waiting: false }), true);
    assert.equal(heartbeatDue({ sinceLastMs: 1000, moved: false, waiting: true }), true);
  });
});

describe('stream fault', () => {
  it('names the statement that fixes a refusal, by SQLSTATE', () => {
    assert.equal(streamFault('42501', 'x', 'a"b').fix, 'ALTER ROLE "a""b" REPLICATION');
    assert.match(streamFault('55000', 'x', 'u').fix ?? '', /wal_level/);
    assert.equal(streamFault('58P01', 'x', 'u').permanent, true);
    assert.deepEqual(streamFault('57P01', 'x', 'u'), { permanent: false, message: 'x', fix: null });
  });
});
