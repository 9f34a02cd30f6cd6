/**
 * Fairlead is killed (SIGKILL) at the steps by which it changes the primary, and started again: there is one writer, everybody else follows
 * it, nothing acknowledged is lost and no setting is left over. FAIRLEAD_TEST_KILLS=all: at each statement, before and after it.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { NO_AGENTS } from '../support/agent.ts';
import { KillScene, type Where } from '../support/kill-scene.ts';

const ALL = process.env.FAIRLEAD_TEST_KILLS === 'all';

/** Each statement in turn, until there is none of that number; or the given ones. */
function* points(some: readonly Where[]): Generator<Where, void, boolean> {
  if (!ALL) {
    for (const where of some) if (!process.env.ONLY || String(where.at).includes(process.env.ONLY)) yield where;
    return;
  }
  for (let at = 1; ; at++) {
    for (const when of ['before', 'after'] as const) if (!(yield { at, when })) return;
  }
}

/** @returns how many kills there were */
async function sweep(some: readonly Where[], round: (where: Where) => Promise<boolean>): Promise<number> {
  const all = points(some);
  let kills = 0;
  for (let next = all.next(); !next.done; ) {
    const hit = await round(next.value);
    if (hit) kills++;
    next = all.next(hit);
  }
  return kills;
}

function tell(t: TestContext, { at, when }: Where, node: string, statement: string, startedMs: number): void {
  const text = statement.replace(/\s+/g, ' ').replace(/password='+[^']*'+/, 'password=…');
  t.diagnostic(`${when} ${at}: ${node}: ${text.slice(0, 150)}: ${Math.round(performance.now() - startedMs)} ms`);
}

const FIRST_OF = (at: RegExp, when: Where['when'] = 'after'): Where => ({ at, when });

describe('Fairlead is killed in the middle of a switchover', { skip: NO_AGENTS }, () => {
  let scene: KillScene;
  before(async () => {
    scene = await KillScene.start({});
  });
  after(() => scene?.stop());

  it('whoever is primary then, nothing is lost and nothing is left', { timeout: 1_800_000 }, async (t) => {
    const some = [
      FIRST_OF(/default_transaction_read_only = 'on'/),
      FIRST_OF(/fairlead_fence_/),
      FIRST_OF(/fairlead:frozen/),
      FIRST_OF(/fairlead:promote/),
      FIRST_OF(/pg_promote/),
      FIRST_OF(/insert into "fairlead"."epochs"/, 'before'),
      FIRST_OF(/pg_create_physical/),
    ];
    let { primary, epoch } = await scene.settled([]);
    const rejoined = new Set<string>();
    const kills = await sweep(some, async (where) => {
      const startedMs = performance.now();
      const old = primary;
      const step = await scene.killAt(
        where,
        () => scene.switchover(),
        () => scene.hasMovedFrom(old),
      );
      const now = await scene.settled([]);
      assert.ok(now.primary === old ? now.epoch >= epoch : now.epoch > epoch, `epoch ${now.epoch} after ${epoch}`);
      assert.deepEqual(now.fenced, now.primary === old ? [] : [old]);
      await scene.assertKept(now.primary);
      for (const { name } of scene.cluster.nodes) {
        if (name !== now.primary && name !== old && name !== 'pg1' && !rejoined.has(name))
          await scene.assertOwnLogin(name);
      }
      if (step !== null) tell(t, where, step.node, `${step.statement}: ${now.primary}`, startedMs);
      for (const name of now.fenced) {
        rejoined.add(name);
        await scene.rejoin(name);
      }
      ({ primary, epoch } = await scene.settled([]));
      return step !== null;
    });
    t.diagnostic(`${kills} kills, ${scene.acknowledged.length} writes acknowledged`);
    assert.ok(kills >= some.length);
  });
});

describe('Fairlead is killed in the middle of a failover', { skip: NO_AGENTS }, () => {
  let scene: KillScene;
  before(async () => {
    scene = await KillScene.start({ replication: { mode: 'quorum', copies: 1 } });
  });
  after(() => scene?.stop());

  it('the next run completes it', { timeout: 1_800_000 }, async (t) => {
    const some = [
      FIRST_OF(/fairlead:frozen/),
      FIRST_OF(/fairlead:promote/),
      FIRST_OF(/pg_promote/),
      FIRST_OF(/pg_create_physical/),
    ];
    let { primary, epoch } = await scene.settled([]);
    const kills = await sweep(some, async (where) => {
      const startedMs = performance.now();
      const old = primary;
      const step = await scene.killAt(
        where,
        async () => scene.killServer(old),
        () => scene.hasMovedFrom(old),
      );
      const now = await scene.settled([old]);
      assert.notEqual(now.primary, old);
      assert.ok(now.epoch > epoch, `epoch ${now.epoch} after ${epoch}`);
      await scene.assertKept(now.primary);
      if (step !== null) tell(t, where, step.node, `${step.statement}: ${now.primary}`, startedMs);
      await scene.rejoin(old);
      ({ primary, epoch } = await scene.settled([]));
      return step !== null;
    });
    t.diagnostic(`${kills} kills, ${scene.acknowledged.length} writes acknowledged`);
    assert.ok(kills >= some.length);
  });
});
