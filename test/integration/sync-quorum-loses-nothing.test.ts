/** ANY 1 of 2, sixteen clients that write, and a primary that is killed while one replica is paused, frozen or behind. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Journal } from '../support/journal.ts';
import { SyncScene } from '../support/sync-scene.ts';
import type { TestNode } from '../support/test-cluster.ts';
import { until } from '../support/wait.ts';

const CLIENTS = 16;

type Round = {
  readonly name: string;
  /** Brings the replicas into the state in which the primary is killed. */
  before(scene: Setting): Promise<void>;
  /** After it was killed. */
  after?(scene: Setting): Promise<void>;
  /** When there is a new primary, before commits have to be confirmed again. */
  promoted?(scene: Setting, winner: string): Promise<void>;
  readonly winner: RegExp;
};

type Setting = { readonly scene: SyncScene; readonly journal: Journal; node(name: string): TestNode };

const someWrites = async ({ journal }: Setting) => {
  const there = journal.acknowledged.length;
  await until(() => journal.acknowledged.length > there + 200, { what: '200 writes', timeoutMs: 30_000 });
};

const ROUNDS: readonly Round[] = [
  { name: 'both replicas follow', before: someWrites, winner: /^pg[23]$/ },
  {
    name: 'replay is paused on one; where the other one is promoted commits wait until it goes on',
    before: async (setting) => {
      await setting.node('pg2').query('SELECT pg_wal_replay_pause()');
      await someWrites(setting);
    },
    promoted: async ({ scene, node }, winner) => {
      // it is promoted where the other one does not get in time what it has
      if (winner === 'pg2') return;
      await scene.state('blocked');
      const why = /pg2 does not stream: its replay is paused.*pg_wal_replay_resume/;
      await until(() => why.test(scene.synchrony.reason), { what: 'the reason why commits wait' });
      await node('pg2').query('SELECT pg_wal_replay_resume()');
    },
    winner: /^pg[23]$/,
  },
  {
    name: 'one was frozen, does not count any more, and is still frozen',
    before: async (setting) => {
      await setting.node('pg2').freeze();
      await setting.scene.counted(['pg3']);
      await someWrites(setting);
    },
    winner: /^pg3$/,
  },
  {
    // what was sent to it waits in the sockets: it may have even more than the other one then
    name: 'one was frozen, and thaws when the primary is dead',
    before: async (setting) => {
      await setting.node('pg3').freeze();
      await someWrites(setting);
    },
    after: (setting) => setting.node('pg3').thaw(),
    winner: /^pg[23]$/,
  },
  {
    name: 'one is frozen and still counts: nobody can know what it has, until it thaws',
    before: async (setting) => {
      const { scene, journal } = setting;
      const counts = () => String(scene.confirmed?.nodes) === 'pg2,pg3';
      // on a busy machine it may cease to count before there were enough writes: then once more
      await until(
        async () => {
          await setting.node('pg2').thaw();
          await scene.counted(['pg2', 'pg3']);
          const there = journal.acknowledged.length;
          await setting.node('pg2').freeze();
          await until(() => !counts() || journal.acknowledged.length > there + 20, { what: 'writes', everyMs: 1 });
          return counts();
        },
        { what: 'writes that it does not have, while it still counts', timeoutMs: 60_000 },
      );
    },
    after: async (setting) => {
      const { assignment } = setting.scene.fairlead.app.cluster;
      await until(() => assignment.value.phase === 'halted', { what: 'a halt', timeoutMs: 40_000 });
      assert.match(
        assignment.value.reason,
        /pg3: it may lack acknowledged commits.* pg2 does not tell where it stands/,
      );
      assert.match(assignment.value.reason, /--allow-data-loss/);
      assert.equal(assignment.value.epoch, 1, 'nothing was touched');
      await setting.node('pg2').thaw();
    },
    winner: /^pg3$/,
  },
];

describe('quorum: any 1 of 2, the primary is killed under load', () => {
  for (const round of ROUNDS) it(round.name, { timeout: 240_000 }, (t) => run(t, round));
});

async function run(t: TestContext, round: Round): Promise<void> {
  const scene = await SyncScene.start({ replication: { mode: 'quorum' } });
  let journal: Journal | null = null;
  try {
    await scene.counted(['pg2', 'pg3']);
    journal = await Journal.start(scene.fairlead.url, CLIENTS);
    const setting: Setting = { scene, journal, node: (name) => scene.cluster.node(name) };
    await someWrites(setting);
    await round.before(setting);
    const killedMs = performance.now();
    await scene.cluster.node('pg1').kill9();
    await round.after?.(setting);
    const { assignment } = scene.fairlead.app.cluster;
    await until(() => assignment.value.phase === 'steady' && assignment.value.primary !== 'pg1', {
      what: `a new primary: ${assignment.value.reason}`,
      timeoutMs: 60_000,
    });
    const winner = assignment.value.primary as string;
    assert.match(winner, round.winner);
    for (const { name } of scene.cluster.nodes.slice(1)) await scene.cluster.node(name).thaw();
    await round.promoted?.(setting, winner);
    await scene.state('confirmed', 60_000);
    const movedMs = performance.now();
    const resumed = journal;
    await until(() => resumed.acknowledgedAfter(movedMs), { what: 'a write on the new primary', timeoutMs: 30_000 });
    await journal.stop();
    const rows = await scene.cluster.node(winner).query<{ id: number }>('SELECT id FROM journal');
    const { lost, ghosts, duplicates } = journal.compare(rows);
    t.diagnostic(
      `${winner} after ${Math.round(movedMs - killedMs)} ms; ${journal.acknowledged.length} acknowledged, ${lost.length} lost; ${JSON.stringify(journal.codes)}`,
    );
    assert.deepEqual(lost, []);
    assert.deepEqual(ghosts, []);
    assert.equal(duplicates, 0);
  } finally {
    await journal?.stop().catch(() => {});
    await scene.stop();
  }
}
