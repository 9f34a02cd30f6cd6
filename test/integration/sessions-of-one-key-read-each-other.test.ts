import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { whileReplayIsPaused } from '../support/paused-replay.ts';
import { RawClient } from '../support/raw-client.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

/** The phone and the laptop of one user: what one writes the other reads, and whoever has another key may still read what was. */
for (const workers of [1, 2]) {
  describe(`sessions of one causality key, ${workers === 1 ? 'one process' : `${workers} workers`}`, () => {
    let cluster: TestCluster;
    let fairlead: TestFairlead;
    const open: RawClient[] = [];

    before(async () => {
      cluster = await startTestCluster({ replicas: 1 });
      await cluster.node('pg1').query('CREATE TABLE notes (id int)');
      // while it stands still, and on a busy machine, the replica is to be read from all the same
      fairlead = await startFairlead(cluster, {
        config: { workers, failover: { mode: 'off' }, routing: { max_lag: '5min' } },
        cluster: { probe_timeout: '10s' },
      });
      await untilServing(fairlead, 1);
    });
    after(async () => {
      for (const one of open) one.vanish();
      await fairlead?.stop();
      await cluster?.stop();
    });

    async function connect(key: string | null, parameters = {}): Promise<RawClient> {
      const client = await RawClient.connect(fairlead.url, parameters);
      open.push(client);
      if (key !== null) await client.query(`SET fairlead.causality = '${key}'`);
      return client;
    }

    const notes = (client: RawClient) => client.value('SELECT count(*) FROM notes').then(Number);
    const nodeOf = async (client: RawClient) => (await client.records('SHOW fairlead.route'))[0]?.node;

    function untilOnReplica(client: RawClient): Promise<unknown> {
      const there = async () => {
        await notes(client);
        return (await nodeOf(client)) === 'pg2';
      };
      return until(there, { what: 'reads on the replica' });
    }

    /** While it stands still a replica shows what was before. */
    const whileReplicaIsPaused = (run: () => Promise<void>) => whileReplayIsPaused(cluster, ['pg2'], run);

    it('read what any of them wrote', async () => {
      const [phone, laptop] = [await connect('user:42'), await connect('user:42')];
      // with workers whoever has a key reads what anybody has
      const stranger = await connect(workers === 1 ? 'user:7' : null);
      for (const client of [phone, laptop, stranger]) {
        await untilOnReplica(client);
      }
      const had = await notes(phone);
      await whileReplicaIsPaused(async () => {
        await phone.query('INSERT INTO notes VALUES (1)');
        assert.equal(await notes(laptop), had + 1, 'outside of a transaction');
        await laptop.query('BEGIN');
        await laptop.query('INSERT INTO notes VALUES (2)');
        await laptop.query('COMMIT');
        assert.equal(await notes(phone), had + 2, 'what a transaction wrote');
        await phone.query('BEGIN READ ONLY');
        assert.equal(await notes(phone), had + 2, 'in a transaction');
        await phone.query('COMMIT');
        assert.equal(await notes(stranger), had, 'the replica shows it to whoever may read it');
        assert.equal(await nodeOf(stranger), 'pg2');
      });
      await untilOnReplica(laptop);
    });

    it('take the key with them, put it down and have it from the beginning', async () => {
      const writer = await connect('cart:1');
      const pooled = await connect(null);
      const begun = await connect(null, { options: '-c fairlead.causality=cart:1' });
      assert.equal(await begun.value('SHOW fairlead.causality'), 'cart:1');
      assert.equal(await pooled.value('SHOW fairlead.causality'), '');
      const had = await notes(pooled);
      await untilOnReplica(pooled);
      await whileReplicaIsPaused(async () => {
        await writer.query('INSERT INTO notes VALUES (3)');
        await writer.end();
        assert.equal(await notes(pooled), had, 'without a key');
        await pooled.query(`SET fairlead.causality = 'cart:1'`);
        assert.equal(await notes(pooled), had + 1, 'a connection that takes the key later');
        assert.equal(await notes(begun), had + 1);
        await begun.query('SET fairlead.causality TO DEFAULT');
        assert.equal(await begun.value('SHOW fairlead.causality'), 'cart:1', 'as at its beginning');
      });
      await pooled.query('RESET fairlead.causality');
      assert.equal(await pooled.value('SHOW fairlead.causality'), '');
      await pooled.query('BEGIN');
      await pooled.query(`SET LOCAL fairlead.causality = 'cart:1'`);
      assert.equal(await pooled.value('SHOW fairlead.causality'), 'cart:1');
      await pooled.query('COMMIT');
      assert.equal(await pooled.value('SHOW fairlead.causality'), '');
      await assert.rejects(
        pooled.query(`SET fairlead.causality = '${'x'.repeat(201)}'`),
        /invalid value for fairlead.causality/,
      );
    });
  });
}
