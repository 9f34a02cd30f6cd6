/**
 * Five nodes, two copies, clients that write, and followers that are killed, frozen and started at random, at the end the primary too: what was
 * acknowledged is there. FAIRLEAD_SEED=N plays another game.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Journal } from '../support/journal.ts';
import { randomFrom } from '../support/random.ts';
import { SyncScene } from '../support/sync-scene.ts';
import { until } from '../support/wait.ts';

const FIRST_SEED = Number(process.env.FAIRLEAD_SEED ?? 1);
const TURNS = 10;
const PATIENCE_MS = 100_000;

describe('synchronous replication under meddling', () => {
  for (const [i, mode] of (['quorum', 'sync'] as const).entries()) {
    it(`${mode}: no acknowledged write is lost`, (t) => play(t, mode, FIRST_SEED + i));
  }
});

async function play(t: TestContext, mode: 'sync' | 'quorum', seed: number): Promise<void> {
  const random = randomFrom(seed);
  // one that was away at the election may have more than the next primary, though nothing acknowledged: it cannot follow, and two are left
  const scene = await SyncScene.start({ replication: { mode, copies: 2 }, replicas: 4 });
  const followers = ['pg2', 'pg3', 'pg4', 'pg5'];
  const state = new Map(followers.map((name) => [name, 'up']));
  const said: string[] = [];
  let journal: Journal | null = null;
  // whoever hangs shall be told with what led to it
  const patience = setTimeout(() => {
    const { assignment, synchrony } = scene.fairlead.app.cluster;
    const { phase, reason } = assignment.value;
    const open = journal?.entries.filter(({ startedMs, endedMs }) => startedMs === endedMs).length;
    t.diagnostic(
      `seed ${seed}, at: ${said.join(', ')}; ${phase}: ${reason}; ${synchrony.value?.reason}; ${open} writes open`,
    );
  }, PATIENCE_MS);
  try {
    const writing = await Journal.start(scene.fairlead.url, 8);
    journal = writing;
    for (let turn = 0; turn < TURNS; turn++) {
      const name = followers[random.int(followers.length)] as string;
      const node = scene.cluster.node(name);
      const before = state.get(name);
      const next = before === 'up' ? (random.chance(0.5) ? 'killed' : 'frozen') : 'up';
      said.push(`${name} ${next}`);
      if (next === 'killed') await node.kill9();
      else if (next === 'frozen') await node.freeze();
      else if (before === 'killed') await node.start();
      else await node.thaw();
      state.set(name, next);
      // in the middle of what that sets off, or after it
      const { setting, state: was } = scene.synchrony;
      const there = writing.acknowledged.length;
      const goesOn = () => writing.acknowledged.length > there + random.int(60);
      const moves = () =>
        scene.synchrony.setting !== setting || scene.synchrony.state !== was || scene.synchrony.state === 'blocked';
      await until(random.chance(0.5) ? goesOn : moves, { what: 'something', timeoutMs: 4000, everyMs: 1 }).catch(
        () => {},
      );
      if (random.chance(0.2)) {
        said.push('connections of Fairlead cut');
        const own = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'fairlead-%' AND pid <> pg_backend_pid()`;
        await scene.cluster.node('pg1').query(own);
      }
    }
    said.push('pg1 killed');
    await scene.cluster.node('pg1').kill9();
    const { assignment } = scene.fairlead.app.cluster;
    const decided = () => assignment.value.phase === 'halted' || (assignment.value.primary ?? 'pg1') !== 'pg1';
    await until(decided, { what: 'a decision', timeoutMs: 15_000 }).catch(() => {});
    said.push(`decided: ${assignment.value.phase}: ${assignment.value.primary ?? assignment.value.reason}`);
    for (const name of followers) {
      if (state.get(name) === 'killed') await scene.cluster.node(name).start();
      await scene.cluster.node(name).thaw();
    }
    await until(() => assignment.value.phase === 'steady' && assignment.value.primary !== 'pg1', {
      what: 'a new primary',
      timeoutMs: 60_000,
    });
    said.push('steady');
    await scene.state('confirmed', 60_000);
    said.push('confirmed');
    const winner = assignment.value.primary as string;
    const movedMs = performance.now();
    await until(() => writing.acknowledgedAfter(movedMs), { what: 'a write on the new primary', timeoutMs: 30_000 });
    said.push('writes');
    await writing.stop();
    const rows = await scene.cluster.node(winner).query<{ id: number }>('SELECT id FROM journal');
    const { lost, ghosts, duplicates } = writing.compare(rows);
    t.diagnostic(`seed ${seed}: ${said.join(', ')}; ${winner}; ${writing.acknowledged.length} acknowledged`);
    assert.deepEqual([lost, ghosts, duplicates], [[], [], 0], `seed ${seed}: ${said.join(', ')}`);
  } finally {
    clearTimeout(patience);
    await journal?.stop().catch(() => {});
    await scene.stop();
  }
}
