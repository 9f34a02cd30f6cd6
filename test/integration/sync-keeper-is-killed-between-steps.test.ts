/**
 * Fairlead is killed (SIGKILL) while it changes who has to acknowledge commits, also while nobody can: the next run goes on from there, and
 * commits are held no longer than until it has read the setting. FAIRLEAD_TEST_KILLS=all: at each statement, before and after it.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { NO_AGENTS } from '../support/agent.ts';
import { ALL_KILLS, sweep, tellKill } from '../support/kill-points.ts';
import { KillScene, type Where } from '../support/kill-scene.ts';
import { until } from '../support/wait.ts';

const ARMING = /synchronous_standby_names = 'FIRST 1 \("fairlead_change"\)'/;
const BOTH = /synchronous_standby_names = 'FIRST \d \("fairlead_change", (?:"fairlead_change", )*"pg/;
const NAMES = `SELECT current_setting('synchronous_standby_names') AS names`;
const GUARANTEE = /"fairlead"."synchrony"/;

describe('Fairlead is killed while it changes whom commits wait for', { skip: NO_AGENTS }, () => {
  let scene: KillScene;
  before(async () => {
    scene = await KillScene.start({ replication: { mode: 'sync', copies: 1 }, timeout: '5s' });
    await confirmed();
  });
  after(async () => {
    for (const node of scene?.cluster.nodes ?? []) await node.thaw().catch(() => {});
    await scene?.stop();
  });

  /** The follower that counts, once one does. */
  const confirmed = () =>
    until(
      async () => {
        const { state, confirmed: guarantee, setting } = await scene.synchrony();
        const only = guarantee?.length === 1 ? (guarantee[0].nodes as string[]) : [];
        return state === 'confirmed' && only.length === 1 && setting === `FIRST 1 ("${only[0]}")` ? only[0] : null;
      },
      { what: 'a follower that counts', timeoutMs: 60_000 },
    );

  it('from no setting at all, by way of one that nobody can satisfy', { timeout: 3_600_000 }, async (t) => {
    const some: Where[] = [
      { at: ARMING, when: 'after' },
      { at: BOTH, when: 'after' },
      { at: GUARANTEE, when: 'before' },
    ];
    const kills = await sweep(some, async (where) => {
      const startedMs = performance.now();
      const empty = async () => {
        const pg1 = scene.cluster.node('pg1');
        await pg1.query(`ALTER SYSTEM SET synchronous_standby_names = ''`);
        const [before] = await pg1.query<{ at: string }>('SELECT pg_conf_load_time()::text AS at');
        await pg1.query('SELECT pg_reload_conf()');
        const read = 'SELECT FROM pg_conf_load_time() AS at WHERE at > $1::timestamptz';
        await until(async () => (await pg1.query(read, [before?.at])).length === 1, { what: 'pg1 to have read it' });
      };
      const done = async () => {
        const [row] = await scene.cluster.node('pg1').query<{ names: string }>(NAMES);
        return /^FIRST 1 \("pg\d"\)$/.test(row?.names ?? '') && (await scene.synchrony()).state === 'confirmed';
      };
      const step = await scene.killAt(where, empty, done);
      const { primary } = await scene.settled([]);
      assert.equal(primary, 'pg1');
      await confirmed();
      if (step !== null) tellKill(t, where, step, primary, startedMs);
      return step !== null;
    });
    assert.ok(kills >= some.length, `${kills} kills`);
  });

  it('from a follower that hangs to another one', { timeout: 3_600_000 }, async (t) => {
    const some: Where[] = [
      { at: BOTH, when: 'after' },
      { at: GUARANTEE, when: 'after' },
    ];
    const kills = await sweep(some, async (where) => {
      const startedMs = performance.now();
      const old = await confirmed();
      const hang = () => scene.cluster.node(old).freeze();
      const done = async () => {
        const { state, setting } = await scene.synchrony();
        return state === 'confirmed' && setting !== `FIRST 1 ("${old}")`;
      };
      const step = await scene.killAt(where, hang, done);
      const { primary } = await scene.settled([old]);
      assert.equal(primary, 'pg1');
      assert.notEqual(await confirmed(), old);
      await scene.cluster.node(old).thaw();
      await scene.settled([]);
      await scene.assertKept('pg1');
      if (step !== null) tellKill(t, where, step, primary, startedMs);
      return step !== null;
    });
    t.diagnostic(`${kills} kills, all: ${ALL_KILLS}`);
    assert.ok(kills >= some.length, `${kills} kills`);
  });
});
