import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { NO_AGENTS } from '../support/agent.ts';
import { httpGet, type Json } from '../support/http.ts';
import { RejoinScene } from '../support/rejoin-scene.ts';
import { until } from '../support/wait.ts';

const KEPT_UP = `SELECT FROM pg_replication_slots WHERE slot_name = 'pg2' AND pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) < 1024 * 1024`;

describe('a replica that was away too long has lost its slot', { skip: NO_AGENTS }, () => {
  let scene: RejoinScene;

  before(async () => {
    scene = await RejoinScene.start({
      settings: { max_slot_wal_keep_size: '32MB', wal_keep_size: 0, max_wal_size: '64MB', min_wal_size: '32MB' },
    });
  });
  after(() => scene?.stop());

  it('is told when the server takes its WAL away', async () => {
    const { cluster, fairlead } = scene;
    await cluster.node('pg3').kill9();
    for (let i = 0; i < 12; i++) {
      await cluster.node('pg1').query(`SELECT pg_logical_emit_message(false, 'test', 'x')`);
      await cluster.node('pg1').query('SELECT pg_switch_wal()');
      // nobody but pg3 is to be left behind
      await until(async () => (await cluster.node('pg1').query(KEPT_UP)).length === 1, { what: 'pg2 to have it' });
      await cluster.node('pg1').query('CHECKPOINT');
    }
    const event = await until(
      async () => {
        const { events } = (await httpGet(`${fairlead.http}/api/events`)).body;
        return events.find((one: Json) => one.kind === 'slot-lost' && one.details.slot === 'pg3');
      },
      { what: 'an event', timeoutMs: 60_000, everyMs: 200 },
    );
    assert.match(
      event.message,
      /^slot pg3 on pg1 \(nobody uses it\) has lost WAL that its reader still needs: pg3 has to be cloned: fairlead rejoin pg3 --clone$/,
    );
  });

  it('is cloned on request, on the slot that it had, and serves reads', async () => {
    await scene.cluster.node('pg1').query('CREATE TABLE later AS SELECT generate_series(1, 1000) AS id');
    const { code, stdout, stderr } = await scene.rejoin('pg3', '--clone');
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), 'pg3 was cloned and follows pg1');
    const slots = await scene.cluster
      .node('pg1')
      .query(
        `SELECT slot_name AS name, active, wal_status AS status FROM pg_replication_slots WHERE slot_type = 'physical' ORDER BY 1`,
      );
    assert.deepEqual(
      slots.map(({ name, active }) => [name, active]),
      [
        ['pg2', true],
        ['pg3', true],
      ],
    );
    assert.deepEqual(await scene.cluster.node('pg3').query('SELECT count(*)::int AS n FROM later'), [{ n: 1000 }]);
    await scene.untilReadable('pg3');
  });

  it('a replica that only was stopped is only started', async () => {
    const agent = scene.agent('pg3');
    await agent.client.ask({ kind: 'stop', body: { mode: 'fast' } });
    await until(async () => !(await agent.status()).running, { what: 'the end of pg3' });
    const { code, stdout, stderr } = await scene.rejoin('pg3');
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), 'pg3 was started and follows pg1');
    await scene.untilReadable('pg3');
  });
});
