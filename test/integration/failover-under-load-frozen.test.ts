import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { FailoverScene } from '../support/failover-scene.ts';
import { until } from '../support/wait.ts';

const SESSIONS = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = 'application'";

describe('the primary is frozen under sixteen clients', () => {
  let scene: FailoverScene;
  before(async () => {
    scene = await FailoverScene.start();
  });
  after(() => scene?.stop());

  it('who stay connected, write on soon, and were told the truth; thawed, it gets no statement', async (t) => {
    const { cluster, journal } = scene;
    const pg1 = cluster.node('pg1');
    const replicatedMs = await scene.replicated();
    const frozenMs = performance.now();
    await pg1.freeze();
    const outageMs = await scene.untilWritesResume(frozenMs);
    const winner = await scene.newPrimary();
    await scene.assertFollowed(winner);

    // what was on its way to it before is carried out now, and was reported as unknown; nothing newer may come
    const newer = journal.next;
    await pg1.thaw();
    const sessions = async () => (await pg1.query<{ n: number }>(SESSIONS))[0]?.n;
    await until(async () => (await sessions()) === 0, { what: 'the end of the sessions on the old primary' });
    const state = async () =>
      (await scene.api('/api/cluster')).nodes.find((n: { name: string }) => n.name === 'pg1').state;
    await until(async () => (await state()) === 'needs rejoin', { what: 'pg1 to show as needs rejoin' });
    const before = journal.acknowledged.length;
    await until(
      async () => {
        assert.equal(await sessions(), 0);
        return journal.acknowledged.length > before + 500;
      },
      { what: '500 more writes', timeoutMs: 30_000 },
    );
    const [found] = await pg1.query<{ n: number }>(`SELECT count(*)::int AS n FROM journal WHERE id >= ${newer}`);
    assert.equal(found?.n, 0);
    await assert.rejects(pg1.query('INSERT INTO journal VALUES (-1, 0)'), { code: '25006' });
    await scene.assertTruth(t, winner, replicatedMs, outageMs);
  });
});
