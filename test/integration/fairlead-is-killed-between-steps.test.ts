/**
 * Fairlead is killed (SIGKILL) at the steps by which it changes the primary, and started again: there is one writer, everybody else follows
 * it, nothing acknowledged is lost and no setting is left over. FAIRLEAD_TEST_KILLS=all: at each statement, before and after it.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { NO_AGENTS } from '../support/agent.ts';
import { ALL_KILLS, sweep, tellKill } from '../support/kill-points.ts';
import { KillScene, type Settled, type Where } from '../support/kill-scene.ts';
import { until } from '../support/wait.ts';

const FIRST_OF = (at: RegExp, when: Where['when'] = 'after'): Where => ({ at, when });

/** All but the last leave the primary where it was. */
const OF_A_SWITCHOVER = [
  FIRST_OF(/default_transaction_read_only = 'on'/),
  FIRST_OF(/fairlead_fence_/),
  FIRST_OF(/fairlead:frozen/),
  FIRST_OF(/fairlead:promote/),
  FIRST_OF(/pg_promote/),
];
const OF_A_FAILOVER = [FIRST_OF(/pg_promote/), FIRST_OF(/fairlead:frozen/)];

const REPLICATION = { mode: 'quorum', copies: 1 } as const;

async function switchovers(scene: KillScene, t: TestContext): Promise<void> {
  let before = await scene.settled([]);
  // a rejoined one has another login to its primary
  const rejoined = new Set(['pg1']);
  const kills = await sweep(OF_A_SWITCHOVER, async (where) => {
    const startedMs = performance.now();
    const old = before.primary;
    const step = await scene.killAt(
      where,
      () => scene.switchover(),
      () => scene.hasMovedFrom(old),
    );
    const now = await scene.settled([]);
    assert.ok(now.epoch > before.epoch || now.primary === old, `epoch ${now.epoch} after ${before.epoch}`);
    // its agent may have made it a follower already
    const demoted = now.primary !== old && now.fenced.length === 0;
    assert.deepEqual(now.fenced, now.primary === old || demoted ? [] : [old]);
    if (demoted) rejoined.add(old);
    await scene.assertKept(now.primary);
    const { nodes } = scene.cluster;
    for (const { name } of nodes) if (name !== now.primary && !rejoined.has(name)) await scene.assertOwnLogin(name);
    if (step !== null) tellKill(t, where, step, now.primary, startedMs);
    before = await rejoinFenced(scene, now, rejoined);
    return step !== null;
  });
  t.diagnostic(`${kills} kills, ${scene.acknowledged.length} writes acknowledged`);
  assert.ok(kills >= OF_A_SWITCHOVER.length);
}

async function failovers(scene: KillScene, t: TestContext): Promise<void> {
  let before = await scene.settled([]);
  const kills = await sweep(OF_A_FAILOVER, async (where) => {
    const startedMs = performance.now();
    const old = before.primary;
    const step = await scene.killAt(
      where,
      async () => scene.killServer(old),
      () => scene.hasMovedFrom(old),
    );
    const now = await scene.settled([old]);
    assert.notEqual(now.primary, old);
    assert.ok(now.epoch > before.epoch, `epoch ${now.epoch} after ${before.epoch}`);
    await scene.assertKept(now.primary);
    if (step !== null) tellKill(t, where, step, now.primary, startedMs);
    before = await rejoinFenced(scene, { ...now, fenced: [old] }, new Set());
    return step !== null;
  });
  t.diagnostic(`${kills} kills, ${scene.acknowledged.length} writes acknowledged`);
  assert.ok(kills >= OF_A_FAILOVER.length);
}

async function rejoinFenced(scene: KillScene, now: Settled, rejoined: Set<string>): Promise<Settled> {
  if (now.fenced.length === 0) return now;
  for (const name of now.fenced) {
    rejoined.add(name);
    await scene.rejoin(name);
  }
  return scene.settled([]);
}

describe('Fairlead is killed in the middle of a change of primary', { skip: NO_AGENTS }, () => {
  let scene: KillScene;
  before(async () => {
    scene = await KillScene.start({ replication: REPLICATION });
  });
  after(() => scene?.stop());

  it('a switchover: whoever is primary then, nothing is lost and nothing is left', { timeout: 3_600_000 }, (t) =>
    switchovers(scene, t),
  );

  it('a switchover that is being undone: the old primary goes on', { timeout: 120_000 }, async (t) => {
    const { primary: old } = await scene.settled([]);
    let target: string | null = null;
    const switchover = async () => {
      const { watch } = scene.breakpoints;
      scene.breakpoints.watch = {
        cut: (step) => watch?.cut(step),
        decide: (step) => {
          if (target === null && /fairlead:promote/.test(step.statement)) {
            target = step.node;
            scene.breakpoints.sever(target);
          }
          return watch?.decide(step) ?? 'pass';
        },
      };
      await scene.switchover();
    };
    const startedMs = performance.now();
    const where = FIRST_OF(/RESET default_transaction_read_only/);
    const step = await scene.killAt(where, switchover, () => scene.hasMovedFrom(old));
    assert.equal(step?.node, old);
    assert.ok(target !== null);
    scene.breakpoints.restore(target);
    const now = await scene.settled([]);
    assert.deepEqual([now.primary, now.fenced], [old, []]);
    await scene.assertKept(old);
    tellKill(t, where, step, now.primary, startedMs);
  });

  it('a failover: the next run completes it', { timeout: 3_600_000 }, (t) => failovers(scene, t));
});

if (ALL_KILLS) {
  describe('Fairlead is killed in the middle of a switchover, asynchronous replication', { skip: NO_AGENTS }, () => {
    let scene: KillScene;
    before(async () => {
      scene = await KillScene.start({});
    });
    after(() => scene?.stop());

    it('nothing is lost and nothing is left', { timeout: 3_600_000 }, (t) => switchovers(scene, t));
  });

  for (const when of ['before', 'after'] as const) {
    describe(`Fairlead is killed ${when} a replica fetches what it lacks`, { skip: NO_AGENTS }, () => {
      let scene: KillScene;
      before(async () => {
        scene = await KillScene.start({ replication: { mode: 'sync', copies: 1 }, notPromotable: 'pg2' });
      });
      after(async () => {
        await scene?.cluster.node('pg3').thaw();
        await scene?.stop();
      });

      it('the next run promotes it with everything', { timeout: 180_000 }, async (t) => {
        const [pg1, pg2, pg3] = ['pg1', 'pg2', 'pg3'].map((name) => scene.cluster.node(name));
        const fail = async () => {
          await pg3?.freeze();
          await pg1?.query(`CREATE TABLE bulk AS SELECT n, repeat('x', 300) FROM generate_series(1, 150000) n`);
          await until(async () => (await pg2?.query('SELECT FROM bulk'))?.length === 150_000, { what: 'the rows' });
          scene.killServer('pg1');
          await pg3?.thaw();
        };
        const startedMs = performance.now();
        const where = FIRST_OF(/fairlead:forward/, when);
        const step = await scene.killAt(where, fail, () => scene.hasMovedFrom('pg1'));
        const now = await scene.settled(['pg1'], 40_000);
        assert.ok(step !== null, 'it was killed');
        assert.equal(now.primary, 'pg3');
        await scene.assertKept('pg3');
        await scene.assertOwnLogin('pg2');
        tellKill(t, where, step, now.primary, startedMs);
      });
    });
  }
}
