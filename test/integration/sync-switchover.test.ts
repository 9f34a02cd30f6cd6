import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { httpPost } from '../support/http.ts';
import { Journal } from '../support/journal.ts';
import { SyncScene } from '../support/sync-scene.ts';
import { until } from '../support/wait.ts';

describe('quorum: a switchover under load', () => {
  let scene: SyncScene;
  before(async () => {
    scene = await SyncScene.start({ replication: { mode: 'quorum' } });
  });
  after(() => scene?.stop());

  it('loses nothing, and the new primary waits for its followers from the first commit', async () => {
    await scene.counted(['pg2', 'pg3']);
    const journal = await Journal.start(scene.fairlead.url, 8);
    try {
      await until(() => journal.acknowledged.length > 200, { what: 'writes', timeoutMs: 30_000 });
      const { body } = await httpPost(`${scene.fairlead.http}/api/switchover`, { to: 'pg3' });
      assert.equal(body.primary, 'pg3');
      await scene.counted(['pg2'], 40_000);
      const movedMs = performance.now();
      await until(() => journal.acknowledgedAfter(movedMs), { what: 'a write on pg3' });
      assert.equal(await scene.setting('pg3'), 'ANY 1 ("pg2")');
      assert.match(await scene.setting('pg1'), /fairlead_fence_/);
    } finally {
      await journal.stop();
    }
    const rows = await scene.cluster.node('pg3').query<{ id: number }>('SELECT id FROM journal');
    const { lost, ghosts, duplicates } = journal.compare(rows);
    assert.deepEqual([lost, ghosts, duplicates], [[], [], 0]);
    assert.deepEqual(await scene.events('sync-degraded'), []);
  });
});
