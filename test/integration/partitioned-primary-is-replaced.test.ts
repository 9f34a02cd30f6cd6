import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { usesDocker } from '../support/cluster.ts';
import type { Json } from '../support/http.ts';
import { APPLICATION, PartitionScene } from '../support/partition-scene.ts';
import { FAIRLEAD, needsNamespaces } from '../support/private-network.ts';
import { until } from '../support/wait.ts';

const SKIP = usesDocker() ? 'this machine cannot: containers share the network' : needsNamespaces();

/** What clients had a server do, by its own log. */
function statementsIn(log: string, fromByte: number): string[] {
  const lines = readFileSync(log).subarray(fromByte).toString().split('\n');
  return lines.filter((line) => line.includes(`${APPLICATION.user}@`) && /LOG: {2}(statement|execute)/.test(line));
}

/**
 * The old primary is back in the network: it is fenced, and gets nothing of what clients send.
 * @param givenUpMs nothing that clients began later can have reached it
 */
async function assertFencedAfterHealing(scene: PartitionScene, winner: string, givenUpMs: number): Promise<void> {
  const { network, journal, watch } = scene;
  const [row] = await scene.node('pg1').query<{ data_directory: string }>('SHOW data_directory');
  const log = `${row?.data_directory}.log`;
  const before = statSync(log).size;
  const healedMs = performance.now();
  network.heal();
  await scene.event('fence-set');
  await scene.state('pg1', 'needs rejoin');
  await journal.progress();
  await until(() => watch.of('pg1').at(-1)?.fenced, { what: 'a fence that its own settings show' });
  assert.deepEqual(statementsIn(log, before), [], 'statements of clients that reached the old primary');
  // what was under way before may have run there; its outcome was told as unknown
  assert.deepEqual(journal.begunAfter(givenUpMs, await scene.rowsOf('pg1')), [], 'writes that were sent to it');
  assert.equal(scene.assignment.primary, winner);
  for (const { nodes, toMs } of watch.twoWriters()) {
    assert.ok(
      toMs < healedMs + 60_000,
      `${nodes} were both writable ${Math.round(toMs - healedMs)} ms after the healing`,
    );
  }
}

describe('a primary that nobody reaches any more', { skip: SKIP, timeout: 200_000 }, () => {
  let scene: PartitionScene;
  before(async () => {
    scene = await PartitionScene.start({ routing: { max_lag: '1s' } });
  });
  after(() => scene?.stop());

  it('is replaced by the replica that was not cut off before; back in the network it is fenced and gets nothing', async (t) => {
    scene.network.cut('pg1', 'pg3');
    await scene.state('pg3', 'lagging');
    scene.network.isolate('pg1');
    const cutMs = performance.now();
    await scene.steady('pg2');
    await scene.journal.progress();
    await assertFencedAfterHealing(scene, 'pg2', cutMs);
    await scene.healed('pg2', 1);
    const lost = await scene.assertTruth('pg2');
    const [failover, ...more] = await scene.events('failover');
    assert.deepEqual(more, []);
    const listed = (failover as Json).lost as { bytes: number; unproven: number };
    t.diagnostic(`${lost.length} lost, listed: ${JSON.stringify(listed)}; ${JSON.stringify(scene.journal.codes)}`);
    assert.ok(lost.length <= listed.unproven, `${lost.length} lost, ${listed.unproven} listed`);
    // an answer that had come may be read late, but nothing that began later can have been answered by pg1
    const late = scene.journal.acknowledged.filter(({ id, startedMs }) => lost.includes(id) && startedMs > cutMs);
    assert.deepEqual(late, [], 'begun after the cut, acknowledged and lost');
    assert.equal(scene.assignment.epoch, 2);
  });
});

describe('the same with commits on a quorum', { skip: SKIP, timeout: 200_000 }, () => {
  let scene: PartitionScene;
  before(async () => {
    scene = await PartitionScene.start({
      replication: { mode: 'quorum', copies: 1 },
      routing: { max_lag: '2s' },
    });
    await scene.counted('pg2', 'pg3');
  });
  after(() => scene?.stop());

  it('cut off from one of them, commits go on through the other', async () => {
    scene.network.cut('pg1', 'pg3');
    await scene.counted('pg2');
    await scene.journal.progress();
    await scene.healed();
    await scene.counted('pg2', 'pg3');
    assert.equal(scene.assignment.epoch, 1);
  });

  it('cut off from both, commits wait, which is on record, and nothing is promoted', async () => {
    scene.network.cut('pg1', 'pg2');
    scene.network.cut('pg1', 'pg3');
    const event = await scene.event('sync-blocked');
    assert.match(event.message, /commits wait: 0 of 1 followers/);
    const waiting = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    const all = scene.journal.connections.length;
    await until(async () => (await scene.node('pg1').query(waiting)).length >= all, { what: 'all clients to wait' });
    assert.equal(scene.assignment.phase, 'steady');
    assert.equal(scene.assignment.primary, 'pg1');
    await scene.healed();
    await scene.counted('pg2', 'pg3');
    assert.equal(scene.assignment.epoch, 1);
  });

  it('one that hears everybody and is heard by nobody is replaced, and nothing that was acknowledged is lost', async (t) => {
    for (const other of [FAIRLEAD, 'pg2', 'pg3']) scene.network.cutOneWay('pg1', other);
    await until(() => scene.assignment.epoch === 2, { what: 'it to be given up', timeoutMs: 40_000 });
    const givenUpMs = performance.now();
    await until(() => scene.assignment.phase === 'steady' && scene.assignment.primary !== 'pg1', {
      what: 'another primary',
      timeoutMs: 40_000,
    });
    const winner = scene.assignment.primary as string;
    await scene.journal.progress();
    await assertFencedAfterHealing(scene, winner, givenUpMs);
    await scene.healed(winner, 1);
    assert.deepEqual(await scene.assertTruth(winner), []);
    t.diagnostic(`${scene.journal.acknowledged.length} acknowledged; ${JSON.stringify(scene.journal.codes)}`);
    assert.equal(scene.assignment.epoch, 2);
  });
});
