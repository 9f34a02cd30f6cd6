import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SchemaHistory } from '../../../src/cluster/schema-history.ts';

describe('which catalog shows all changes of the schema', () => {
  it('is none before it is known what came before the stream', () => {
    const history = new SchemaHistory();
    assert.equal(history.shows('100:100:'), false);
    history.startedBefore(90n);
    assert.equal(history.shows('89:95:89'), false, 'one from before may still be on its way');
    assert.equal(history.shows('90:95:90,92'), true);
  });

  it('is one in whose snapshot they have ended', () => {
    const history = new SchemaHistory();
    history.startedBefore(10n);
    const { version } = history;
    history.changed(50);
    assert.equal(history.version, version + 1);
    assert.equal(history.shows('40:50:'), false, 'it begins later than the snapshot');
    assert.equal(history.shows('40:60:45,50'), false, 'it is in the WAL, but not visible yet');
    assert.equal(history.shows('40:60:45'), true);
    assert.equal(history.shows('51:60:'), true);
    history.reset();
    assert.equal(history.shows('51:60:'), false);
  });

  it('is found though ids of the stream have 32 bits', () => {
    const history = new SchemaHistory();
    const epoch = 3n << 32n;
    history.startedBefore(epoch - 100n);
    history.changed(0xffff_fff0);
    history.changed(7);
    assert.equal(history.shows(`${epoch + 5n}:${epoch + 8n}:${epoch + 7n}`), false);
    assert.equal(history.shows(`${epoch + 5n}:${epoch + 8n}:${epoch + 5n}`), true);
    assert.equal(history.shows(`${epoch - 16n}:${epoch + 8n}:${epoch - 16n}`), false);
  });

  it('needs no list of thousands of changes', () => {
    const history = new SchemaHistory();
    history.startedBefore(1n);
    for (let xid = 100; xid < 2100; xid++) history.changed(xid);
    assert.ok(history.state.xids.length <= 256);
    assert.equal(history.shows('100:3000:100'), false);
    assert.equal(history.shows('2100:3000:2100'), true);
  });
});
