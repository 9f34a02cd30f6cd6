import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { httpGet, type Json } from '../support/http.ts';
import { until } from '../support/wait.ts';

/** Writes WAL in segments that are hardly used: a switch costs little and counts as 16 MB. */
async function writeWal(cluster: TestCluster, segments: number): Promise<void> {
  for (let i = 0; i < segments; i++) {
    await cluster.node('pg1').query(`SELECT pg_logical_emit_message(false, 'test', 'x')`);
    await cluster.node('pg1').query('SELECT pg_switch_wal()');
  }
  await cluster.node('pg1').query('CHECKPOINT');
}

function eventOf({ http }: TestFairlead, kind: string, slot: string): Promise<Json> {
  return until(
    async () => {
      const { events } = (await httpGet(`${http}/api/events`)).body;
      return events.find((event: Json) => event.kind === kind && event.details.slot === slot);
    },
    { what: `an event ${kind} of slot ${slot}`, timeoutMs: 40_000, everyMs: 200 },
  );
}

describe('a slot that nobody reads does not fill the disk of the primary', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;

  before(async () => {
    // the server itself sets no limit: what happens is Fairlead's doing
    cluster = await startTestCluster({
      settings: { max_slot_wal_keep_size: '-1', wal_keep_size: 0, max_wal_size: '64MB' },
    });
    fairlead = await startFairlead(cluster, { config: { slots: { warn_at: '40MB', drop_at: '150MB' } } });
  });
  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('a dead follower’s slot is an event that says what to do', async () => {
    await cluster.node('pg3').kill9();
    const used = `SELECT FROM pg_replication_slots WHERE slot_name = 'pg3' AND active`;
    await until(async () => (await cluster.node('pg1').query(used)).length === 0, { what: 'the slot to be left' });
    await writeWal(cluster, 5);
    const event = await eventOf(fairlead, 'slot-keeps-wal', 'pg3');
    assert.equal(event.node, 'pg3');
    assert.match(
      event.message,
      /^slot pg3 on pg1 \(nobody uses it\) keeps \d+ MB of WAL: start pg3, or SELECT pg_drop_replication_slot\('pg3'\) and clone it later$/,
    );
  });

  it('at slots.drop_at it is dropped, and the primary keeps no more WAL for it', async () => {
    await writeWal(cluster, 9);
    const event = await eventOf(fairlead, 'slot-dropped', 'pg3');
    assert.match(event.message, /pg3 has to be cloned: fairlead rejoin pg3 --clone$/);
    const slots = await cluster
      .node('pg1')
      .query(`SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'physical'`);
    assert.deepEqual(slots, [{ slot_name: 'pg2' }]);
    const size = 'SELECT (sum(size) / 1048576)::int AS mb FROM pg_ls_waldir()';
    // pg2 may still need some
    await until(
      async () => {
        await cluster.node('pg1').query('CHECKPOINT');
        const [row] = await cluster.node('pg1').query<{ mb: number }>(size);
        if (row === undefined || row.mb >= 200) throw new Error(`${row?.mb} MB of WAL`);
        return true;
      },
      { what: 'the primary to keep no more WAL' },
    );
  });

  it('a consumer of our own that stands still is ended; one of somebody else is left alone', async () => {
    const { superuser: user, password } = cluster;
    const { host, port } = cluster.node('pg1');
    const open = async (slot: string) => {
      const client = new pg.Client({
        host,
        port,
        user,
        password,
        database: 'postgres',
        ...{ replication: 'database' },
      });
      client.on('error', () => {});
      await client.connect();
      await client.query(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL test_decoding`);
      return client;
    };
    const ours = await open('fairlead_0123456789ab');
    const theirs = await open('somebodys');
    const ended = new Promise((resolve) => ours.once('end', resolve));
    try {
      await writeWal(cluster, 11);
      const event = await eventOf(fairlead, 'slot-stalled', 'fairlead_0123456789ab');
      assert.match(event.message, /begins anew$/);
      await ended;
      await eventOf(fairlead, 'slot-keeps-wal', 'somebodys');
      const [row] = await cluster
        .node('pg1')
        .query(
          `SELECT string_agg(slot_name, ' ') AS left FROM pg_replication_slots WHERE slot_name ~ '0123456789ab|somebodys'`,
        );
      assert.deepEqual(row, { left: 'somebodys' });
    } finally {
      await ours.end().catch(() => {});
      await theirs.end().catch(() => {});
    }
  });
});
