import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { needsRewind, programsWithRewind } from '../support/agent.ts';
import { httpGet, httpPost, type Json } from '../support/http.ts';
import { Journal } from '../support/journal.ts';
import { RejoinScene } from '../support/rejoin-scene.ts';
import { until } from '../support/wait.ts';

describe('a switchover makes the old primary a follower, where an agent is beside it', { skip: needsRewind() }, () => {
  let scene: RejoinScene;
  let journal: Journal;
  const rewound: string[] = [];

  before(async () => {
    scene = await RejoinScene.start({ replicas: 1, pgBin: programsWithRewind() ?? '' });
    journal = await Journal.start(scene.fairlead.url, 6);
    await until(() => journal.acknowledged.length > 200, { what: 'writes', timeoutMs: 30_000 });
  });
  after(async () => {
    await journal?.stop().catch(() => {});
    await scene?.stop();
  });

  const events = async (kind: string): Promise<Json[]> => {
    const { body } = await httpGet(`${scene.fairlead.http}/api/events`);
    return body.events.filter((event: Json) => event.kind === kind);
  };
  const repaired = async (name: string): Promise<Json> => {
    const repair = await until(
      async () => {
        const { rejoin } = (await httpGet(`${scene.fairlead.http}/api/nodes/${name}/rejoin`)).body;
        return rejoin === null || rejoin.state === 'running' ? null : rejoin;
      },
      { what: `${name} to follow`, timeoutMs: 60_000 },
    );
    assert.equal(repair.error, null);
    return repair;
  };
  const switchTo = async (to: string, from: string) => {
    const { status, body } = await httpPost(`${scene.fairlead.http}/api/switchover`, { to });
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.primary, to);
    const repair = await repaired(from);
    // once in a while PostgreSQL writes something by itself in these milliseconds: then it is rewound
    if (repair.outcome !== `${from} was turned around and follows ${to}`) {
      assert.equal(repair.outcome, `${from} was rewound and follows ${to}`);
      assert.match(repair.notes.join(), /cannot follow as it is: it has WAL beyond/);
      rewound.push(from);
    }
    await scene.untilReadable(from);
  };

  it('under writes: it follows as it is, and is read from again', async () => {
    await switchTo('pg2', 'pg1');
    assert.equal((await events('demoting')).length, 1);
    assert.equal((await events('rebuilt')).length, 1);
    await until(async () => (await events('rejoined')).length > 0, { what: 'the event of its return' });
    assert.equal((await events('rejoined')).length, 1);
    assert.deepEqual(await events('rejoin-failed'), []);
    const used = `SELECT slot_name AS slot FROM pg_replication_slots WHERE active AND slot_type = 'physical'`;
    await until(async () => (await scene.cluster.node('pg2').query(used))[0]?.slot === 'fairlead_pg1', {
      what: 'a slot on pg2',
    });
    // slots of the former primary keep WAL
    const left = `SELECT slot_name FROM pg_replication_slots`;
    await until(async () => (await scene.cluster.node('pg1').query(left)).length === 0, { what: 'no slots on pg1' });
  });

  it('although the background writer has noted something behind the last commit; not when there was a checkpoint', async () => {
    /** PostgreSQL writes something of its own before the agent gets to it. */
    const interposed = async (from: string, to: string, sql: string) => {
      const { pid } = scene.agent(from);
      // that of its own promotion may be under way still
      await scene.cluster.node(from).query('CHECKPOINT');
      // the fence ends no session of this name
      const client = new pg.Client({
        connectionString: scene.cluster.node(from).url,
        application_name: 'fairlead-test',
      });
      client.on('error', () => {});
      await client.connect();
      process.kill(pid, 'SIGSTOP');
      try {
        const { status, body } = await httpPost(`${scene.fairlead.http}/api/switchover`, { to });
        assert.equal(status, 200, JSON.stringify(body));
        await client.query(sql);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      const repair = await repaired(from);
      await client.end().catch(() => {});
      await scene.untilReadable(from);
      return repair;
    };
    const next = () => (scene.primary === 'pg1' ? (['pg1', 'pg2'] as const) : (['pg2', 'pg1'] as const));
    // the same record, without waiting for 15 s; on a slow machine PostgreSQL may write something else as well: not every time
    const note = `SELECT pg_create_logical_replication_slot('noted', 'pgoutput', true)`;
    for (let tries = 1; ; tries++) {
      const [from, to] = next();
      const { outcome, notes, stages } = await interposed(from, to, note);
      if (outcome === `${from} was rewound and follows ${to}` && tries < 4) continue;
      assert.deepEqual([outcome, notes], [`${from} was turned around and follows ${to}`, []]);
      assert.ok(stages.includes('taking back what its background writer has noted'), stages.join());
      break;
    }
    const [from, to] = next();
    const checkpoint = await interposed(from, to, 'CHECKPOINT');
    assert.equal(checkpoint.outcome, `${from} was rewound and follows ${to}`);
    assert.match(checkpoint.notes.join(), /cannot follow as it is: it has WAL beyond/);
    if (scene.primary === 'pg1') await switchTo('pg2', 'pg1');
  });

  it('and back: what came to be there is what was acknowledged, nothing more and nothing less', async () => {
    await switchTo('pg1', 'pg2');
    assert.ok(rewound.length < 2, 'as a rule it is not rewound');
    const { length } = journal.acknowledged;
    await until(() => journal.acknowledged.length > length + 50, { what: 'writes on pg1' });
    await journal.stop();
    for (const name of ['pg1', 'pg2']) {
      await until(
        async () => {
          const rows = await scene.cluster.node(name).query<{ id: number }>('SELECT id FROM journal');
          const { lost, ghosts, duplicates, missed } = journal.compare(rows);
          assert.deepEqual({ lost, ghosts, duplicates, missed }, { lost: [], ghosts: [], duplicates: 0, missed: [] });
          return true;
        },
        { what: `all of it on ${name}` },
      );
    }
    assert.deepEqual(journal.codes, {});
    assert.deepEqual(journal.readErrors, []);
    assert.deepEqual(
      journal.connections.map(({ lost }) => lost).filter((reason) => reason !== null),
      [],
    );
  });

  it('is told when it fails: the switchover holds, and the old primary needs a rejoin', async () => {
    await scene.agent('pg1').kill9();
    const { body } = await httpPost(`${scene.fairlead.http}/api/switchover`, {});
    assert.equal(body.primary, 'pg2');
    const [failed] = await until(
      async () => {
        const found = await events('rejoin-failed');
        return found.length > 0 ? found : null;
      },
      { what: 'the failure' },
    );
    assert.match(failed.message, /pg1 does not follow pg2: no agent answers/);
    const { topology } = scene.fairlead.app.cluster;
    await until(() => topology.value.byName.get('pg1')?.state === 'needs rejoin', { what: 'pg1 to need a rejoin' });
    await scene.agent('pg1').restart();
    // the fence has written nothing: it is as good as before
    const { code, stdout, stderr } = await scene.rejoin('pg1');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /pg1 was (turned around|rewound|cloned) and follows pg2/);
  });
});
