import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { perform } from '../../src/agent/agent-client.ts';
import { needsRewind, programsWithRewind, type TestAgent } from '../support/agent.ts';
import { Connection } from '../support/connection.ts';
import { RejoinScene } from '../support/rejoin-scene.ts';
import { until } from '../support/wait.ts';

describe('a former primary that has commits of its own is rewound', { skip: needsRewind() }, () => {
  let scene: RejoinScene;
  let next: string;

  before(async () => {
    scene = await RejoinScene.start({ pgBin: programsWithRewind() ?? '' });
  });
  after(() => scene?.stop());

  it('diverges: it was killed, replaced, came back and went on alone', async () => {
    const { cluster } = scene;
    await cluster.node('pg1').query('CREATE TABLE kept (id int PRIMARY KEY, by text)');
    await cluster.node('pg1').query(`INSERT INTO kept SELECT n, 'pg1' FROM generate_series(1, 2000) n`);
    await until(async () => (await cluster.node('pg2').query('SELECT 1 FROM kept')).length === 2000, { what: 'pg2' });
    await until(async () => (await cluster.node('pg3').query('SELECT 1 FROM kept')).length === 2000, { what: 'pg3' });
    next = await scene.failOver();
    assert.notEqual(next, 'pg1');
    await cluster.node(next).query(`INSERT INTO kept VALUES (3000, 'next')`);
    await scene.diverge(
      'pg1',
      `INSERT INTO kept SELECT n, 'nobody' FROM generate_series(5000, 5999) n;
       UPDATE kept SET by = 'nobody' WHERE id <= 1000; CREATE TABLE ghost AS SELECT generate_series(1, 1000) AS id`,
    );
  });

  it('fairlead check asks the agents', async () => {
    const { stdout } = await scene.directly('check');
    assert.match(stdout, /^ok +pg2: its agent answers, and can rewind it \(\d+/m);
    await scene.agent('pg2').kill9();
    const without = await scene.directly('check');
    await scene.agent('pg2').restart();
    assert.match(without.stdout, /^warning +pg2: its agent: no agent answers at .*ECONNREFUSED/m);
  });

  it('says what is wrong where it cannot be done', async () => {
    const primary = await scene.rejoin(next);
    assert.equal(primary.code, 1);
    assert.match(primary.stderr, new RegExp(`${next} is the primary`));
    const unknown = await scene.rejoin('pg9');
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /there is no node pg9/);
  });

  it('fairlead rejoin rewinds it, starts it as a replica and tells what it does', async () => {
    const { code, stdout, stderr } = await scene.rejoin('pg1', '--rewind');
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), `pg1 was rewound and follows ${next}`);
    for (const stage of [
      'recovering what was not shut down',
      'rewinding',
      'starting the server',
      'waiting for pg1 to stream',
    ]) {
      assert.match(stderr, new RegExp(stage));
    }
  });

  it('is a replica of the new primary, without what only it had', async () => {
    const { cluster, fairlead } = scene;
    const pg1 = cluster.node('pg1');
    const summary = `SELECT count(*)::int AS n, md5(string_agg(id || by, ',' ORDER BY id)) AS sum FROM kept`;
    await until(
      async () => {
        const [own] = await pg1.query(summary);
        const [theirs] = await cluster.node(next).query(summary);
        assert.deepEqual(own, theirs);
        return true;
      },
      { what: 'the same rows' },
    );
    assert.deepEqual(await pg1.query(`SELECT 1 FROM kept WHERE by = 'nobody'`), []);
    assert.deepEqual(await pg1.query(`SELECT to_regclass('ghost') AS ghost`), [{ ghost: null }]);
    const [slot] = await cluster
      .node(next)
      .query(`SELECT slot_name AS slot FROM pg_replication_slots WHERE active AND slot_name = 'fairlead_pg1'`);
    assert.deepEqual(slot, { slot: 'fairlead_pg1' });
    const events = fairlead.app.cluster;
    await until(() => !events.assignment.value.fenced.has('pg1'), { what: 'the fence to be lifted' });
  });

  it('keeps its own port and configuration, which a rewind overwrites', async () => {
    const [row] = await scene.cluster.node('pg1').query<{ port: string }>('SHOW port');
    assert.equal(Number(row?.port), scene.cluster.node('pg1').port);
    const [fence] = await until(
      async () => {
        const rows = await scene.cluster
          .node('pg1')
          .query<{ names: string; ro: string }>(
            `SELECT current_setting('synchronous_standby_names') AS names, current_setting('default_transaction_read_only') AS ro`,
          );
        return rows[0]?.names === '' && rows[0].ro === 'off' ? rows : null;
      },
      { what: 'the fence to be gone' },
    );
    assert.deepEqual(fence, { names: '', ro: 'off' });
  });

  it('serves reads of clients, of commits made after its return', async () => {
    await scene.untilReadable('pg1');
    const client = await Connection.open(scene.fairlead.url);
    try {
      await client.rows(`INSERT INTO kept VALUES (4000, 'later')`);
      await until(
        async () => {
          const rows = await client.rows('SELECT id FROM kept WHERE id IN (3000, 4000) ORDER BY id');
          assert.deepEqual(rows, [{ id: 3000 }, { id: 4000 }]);
          const route = await client.row<{ node: string }>('SHOW fairlead.route');
          return route.node === 'pg1';
        },
        { what: 'a read on pg1' },
      );
    } finally {
      await client.close();
    }
  });

  it('says so when there is nothing to do', async () => {
    const { code, stdout, stderr } = await scene.rejoin('pg1');
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), `pg1 follows ${next} already`);
  });

  it('can be promoted again, and the one that is killed then comes back the same way', async () => {
    const before = next;
    next = await scene.failOver();
    await scene.diverge(before, `INSERT INTO kept SELECT n, 'nobody' FROM generate_series(7000, 7100) n`);
    const { code, stdout, stderr } = await scene.directly('rejoin', before);
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), `${before} was rewound and follows ${next}`);
    assert.deepEqual(await scene.cluster.node(before).query(`SELECT 1 FROM kept WHERE by = 'nobody'`), []);
    await scene.untilReadable(before);
  });

  it('after a rewind that was broken off nothing is started there, and rejoin clones', async () => {
    let before: string;
    let agent: TestAgent;
    let under: ReturnType<RejoinScene['rejoin']>;
    let begun: boolean;
    // one that was over before anybody looked is had once more
    do {
      before = next;
      next = await scene.failOver();
      await scene.diverge(before, `INSERT INTO kept SELECT n, 'nobody' FROM generate_series(8000, 8100) n`);
      agent = scene.agent(before);
      let over = false;
      under = scene.rejoin(before, '--rewind').finally(() => {
        over = true;
      });
      const mark = `${agent.dataDirectory}.fairlead/rewinding`;
      await until(() => existsSync(mark) || over, { what: 'the rewind to have begun', everyMs: 1 });
      begun = existsSync(mark);
    } while (!begun);
    await agent.kill9();
    await agent.restart();
    assert.equal((await under).code, 1);
    const { leftover, noRewind } = await agent.status();
    assert.match(leftover ?? '', /a rewind was interrupted/);
    assert.match(noRewind ?? '', /a rewind was interrupted/);
    await assert.rejects(
      perform(agent.client, { kind: 'start', body: {} }, () => {}),
      /nothing may be started there/,
    );
    const { code, stdout, stderr } = await scene.rejoin(before);
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), `${before} was cloned and follows ${next}`);
    assert.match(stderr, /cannot be rewound, and is cloned: a rewind was interrupted/);
    assert.deepEqual(await scene.cluster.node(before).query(`SELECT 1 FROM kept WHERE by = 'nobody'`), []);
    const [row] = await scene.cluster.node(before).query<{ port: string }>('SHOW port');
    assert.equal(Number(row?.port), scene.cluster.node(before).port, 'its own configuration, of before the rewind');
    await scene.untilReadable(before);
  });
});
