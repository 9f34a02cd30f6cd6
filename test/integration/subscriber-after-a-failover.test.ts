import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { untilReplayed } from '../support/paused-replay.ts';
import type { RawClient } from '../support/raw-client.ts';
import { SUBSCRIPTION, SubscribedScene } from '../support/subscribed-scene.ts';
import { until } from '../support/wait.ts';

describe('a logical subscriber, when the primary is replaced', () => {
  let scene: SubscribedScene;
  let client: RawClient;

  beforeEach(async () => {
    const schema = 'CREATE TABLE t (id int PRIMARY KEY)';
    scene = await SubscribedScene.start(schema, () => 'CREATE PUBLICATION pub FOR TABLE t', 'automatic');
    client = await scene.connect();
  });
  afterEach(() => scene?.stop());

  const assigned = () => scene.fairlead.app.cluster.assignment.value;
  const readable = async () => (await scene.node('sub'))?.readable === 'yes';

  async function killPrimary(): Promise<void> {
    await scene.primary.kill9();
    await until(() => assigned().primary === 'pg2' && assigned().phase === 'steady', {
      what: 'pg2 to be the primary',
      timeoutMs: 60_000,
    });
  }

  /** A read of one session right behind a write of it. */
  async function writeAndRead(id: number): Promise<string> {
    await client.query(`INSERT INTO t VALUES (${id})`);
    assert.equal(await client.value(`SELECT count(*) FROM t WHERE id = ${id}`), '1');
    const [route] = await client.records('SHOW fairlead.route');
    return route?.node ?? '';
  }

  it('is neither promoted nor touched, and not read before it was made anew', async () => {
    await until(readable, { what: 'reads on the subscriber' });
    const before = await scene.there("SELECT name, setting FROM pg_file_settings WHERE sourcefile ~ 'auto'");
    for (let id = 1; id <= 20; id++) await writeAndRead(id);
    await killPrimary();
    for (let id = 101; id <= 120; id++) assert.equal(await writeAndRead(id), 'pg2');
    await until(async () => (await scene.node('sub'))?.state === 'detached', { what: 'it to be detached' });
    assert.deepEqual([...assigned().fenced.keys()], ['pg1']);
    assert.deepEqual(await scene.there("SELECT name, setting FROM pg_file_settings WHERE sourcefile ~ 'auto'"), before);

    // turned to the new primary, where its slot was made too late: it will never get what was written before
    await scene.cluster.node('pg2').query(`SELECT pg_create_logical_replication_slot('${SUBSCRIPTION}', 'pgoutput')`);
    await until(async () => /later than what it has/.test((await scene.node('sub'))?.reason ?? ''), {
      what: 'the gap to be seen',
    });
    await scene.turnTo('pg2');
    const received = `SELECT FROM pg_replication_slots WHERE slot_name = '${SUBSCRIPTION}' AND active`;
    await until(async () => (await scene.cluster.node('pg2').query(received)).length === 1, {
      what: 'the subscriber to receive from pg2',
      timeoutMs: 40_000,
    });
    for (let id = 201; id <= 220; id++) assert.equal(await writeAndRead(id), 'pg2');
    // it has the newest rows, and not those between
    await until(async () => (await scene.there('SELECT FROM t WHERE id = 220')).length === 1, {
      what: 'the newest row',
    });
    assert.deepEqual(await scene.there('SELECT FROM t WHERE id = 101'), []);
    assert.equal(await client.value('SELECT count(*) FROM t'), '60');
    assert.equal(await readable(), false);

    await scene.there(`DROP SUBSCRIPTION ${SUBSCRIPTION}`);
    await scene.there('TRUNCATE t');
    await scene.subscribe('pg2');
    await until(readable, { what: 'reads on the subscriber', timeoutMs: 40_000 });
    await until(async () => (await writeAndRead(Math.floor(Math.random() * 1e9) + 1000)) === 'sub', {
      what: 'reads of what was written on the subscriber',
    });
  });

  it('is read again when its slot has survived, and it misses nothing', async (t) => {
    // before PostgreSQL 17 no slot survives, and the test above is all there is to see
    if (scene.cluster.major < 17) return t.diagnostic('slots do not survive before PostgreSQL 17');
    const pg2 = scene.cluster.node('pg2');
    await scene.there(`DROP SUBSCRIPTION ${SUBSCRIPTION}`);
    await scene.subscribe('pg1', 'WITH (failover = true, copy_data = true)');
    const [row] = await pg2.query<{ conninfo: string }>("SELECT current_setting('primary_conninfo') AS conninfo");
    const conninfo = `${row?.conninfo} dbname=postgres`.replaceAll("'", "''");
    await pg2.query(`ALTER SYSTEM SET primary_conninfo = '${conninfo}'`);
    await pg2.query('ALTER SYSTEM SET sync_replication_slots = on');
    await pg2.query('SELECT pg_reload_conf()');
    const synced = `SELECT FROM pg_replication_slots WHERE slot_name = '${SUBSCRIPTION}' AND synced AND NOT temporary`;
    let id = 0;
    await until(
      async () => {
        await writeAndRead(++id);
        return (await pg2.query(synced)).length === 1;
      },
      { what: 'the slot on pg2', timeoutMs: 120_000 },
    );
    await until(readable, { what: 'reads on the subscriber' });
    await untilReplayed(scene.cluster, pg2);
    await killPrimary();
    for (let i = 0; i < 20; i++) assert.equal(await writeAndRead(++id), 'pg2');
    await until(async () => /does not receive/.test((await scene.node('sub'))?.reason ?? ''), { what: 'it to be fit' });
    await scene.turnTo('pg2');
    await until(async () => (await writeAndRead(++id)) === 'sub', { what: 'reads on it', timeoutMs: 40_000 });
    assert.equal(await client.value('SELECT count(*) FROM t'), String(id));
  });
});
