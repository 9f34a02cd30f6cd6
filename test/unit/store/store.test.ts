import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cluster } from '../../../src/cluster/cluster.ts';
import { configSchema, nodesOf } from '../../../src/config/config.ts';
import { SILENT } from '../../../src/core/log.ts';
import { Store } from '../../../src/store/store.ts';

describe('store without a primary', () => {
  it('keeps events and tells them, newest first', async () => {
    const config = configSchema.parse({ cluster: { user: 'u', nodes: { pg1: '127.0.0.1:1' } } });
    const store = new Store(new Cluster(nodesOf(config), { ms: 1, bytes: null }), { config, log: SILENT });
    store.start();
    const heard: string[] = [];
    store.subscribe((event) => heard.push(event.message));
    await store.recordEvent({ kind: 'role', message: 'one', node: 'pg1', detail: {}, atMs: 1000 });
    await store.recordEvent({ kind: 'failover', message: 'two', node: 'pg1', detail: { lostBytes: 1 }, atMs: 2000 });
    assert.deepEqual(heard, ['one', 'two']);
    assert.deepEqual(
      (await store.listEvents(10)).map((e) => e.message),
      ['two', 'one'],
    );
    assert.equal((await store.listEvents(1)).length, 1);
    const epoch = { epoch: 1, primary: 'pg1', timeline: 1, systemId: 's', forkLsn: null, atMs: 1 };
    await assert.rejects(store.recordEpoch(epoch), /until there is a primary/);
    await assert.rejects(store.recordLagSamples([{ node: 'pg1', atMs: 1, lagMs: 0, lagBytes: 0 }]), /no primary/);
    await store.stop();
  });
});
