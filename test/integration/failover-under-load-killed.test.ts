import { after, before, describe, it } from 'node:test';
import { FailoverScene } from '../support/failover-scene.ts';

describe('the primary is killed under sixteen clients', () => {
  let scene: FailoverScene;
  before(async () => {
    scene = await FailoverScene.start();
  });
  after(() => scene?.stop());

  it('who stay connected, write on soon, and were told the truth', async (t) => {
    const replicatedMs = await scene.replicated();
    const killedMs = performance.now();
    await scene.cluster.node('pg1').kill9();
    const outageMs = await scene.untilWritesResume(killedMs);
    const winner = await scene.newPrimary();
    await scene.assertFollowed(winner);
    await scene.assertTruth(t, winner, replicatedMs, outageMs);
  });
});
