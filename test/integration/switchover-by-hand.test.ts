/** An operator switches over himself, with pg_ctl and pg_promote, while Fairlead runs: in `follow`, and in `automatic`, where it might act too. */
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { splitMark } from '../../src/cluster/mark.ts';
import { placesOfServer } from '../support/agent.ts';
import { Breakpoints } from '../support/breakpoints.ts';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { ClusterWatch } from '../support/cluster-watch.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { httpGet, type Json } from '../support/http.ts';
import { Journal } from '../support/journal.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const SKIP = usesDocker() ? 'this machine cannot: data directories in containers are out of reach' : false;

for (const mode of ['automatic', 'follow'] as const) {
  describe(`a switchover by hand, failover.mode: ${mode}`, { skip: SKIP, timeout: 180_000 }, () => {
    let cluster: TestCluster;
    let fairlead: TestFairlead;
    let journal: Journal;
    let watch: ClusterWatch;
    const directories = new Map<string, string>();
    /** When Fairlead had seen the promotion of a second primary. */
    let movedMs = 0;

    before(async () => {
      cluster = await startTestCluster();
      for (const { name } of cluster.nodes) directories.set(name, (await placesOfServer(cluster, name)).data);
      fairlead = await startFairlead(cluster, {
        config: { failover: { mode, timeout: '3s' } },
        cluster: { probe_interval: '200ms' },
      });
      await untilServing(fairlead, 2);
      journal = await Journal.start(fairlead.url, 3);
      watch = new ClusterWatch(cluster);
      await until(() => journal.acknowledged.length > 50, { what: 'writes', timeoutMs: 30_000 });
    });
    after(async () => {
      await watch?.stop();
      await journal?.stop().catch(() => {});
      await fairlead?.stop();
      await cluster?.stop();
    });

    const state = (name: string) => fairlead.app.cluster.topology.value.byName.get(name);
    const events = async (kind: string): Promise<Json[]> => {
      const { body } = await httpGet(`${fairlead.http}/api/events`);
      return body.events.filter((event: Json) => event.kind === kind);
    };
    const conninfoOf = (name: string, source: string) => {
      const { hostname, port, username, password } = new URL(cluster.node(source).url);
      return `host=${hostname} port=${port} user=${username} password=${password} application_name=${name}`;
    };
    /** What an operator writes into the files of a server that is stopped. */
    const makeStandby = (name: string, source: string) => {
      const directory = directories.get(name) ?? '';
      appendFileSync(
        join(directory, 'postgresql.auto.conf'),
        `primary_conninfo = '${conninfoOf(name, source)}'\nprimary_slot_name = ''\n`,
      );
      writeFileSync(join(directory, 'standby.signal'), '', { mode: 0o644 });
    };
    const turn = async (name: string, source: string) => {
      const node = cluster.node(name);
      await node.query(`ALTER SYSTEM SET primary_slot_name = ''`);
      await node.query(`ALTER SYSTEM SET primary_conninfo = '${conninfoOf(name, source)}'`);
      await node.query('SELECT pg_reload_conf()');
    };
    const isPrimary = async (name: string) => {
      const { assignment } = fairlead.app.cluster;
      await until(
        () => {
          const { phase, primary, reason } = assignment.value;
          if (phase !== 'steady' || primary !== name) throw new Error(`${phase} ${primary}: ${reason}`);
          return true;
        },
        { what: `${name} as the primary`, timeoutMs: 20_000 },
      );
      await journal.progress();
    };
    const serves = (name: string) =>
      until(
        async () => {
          const node = state(name);
          if (node?.readable !== true || node.role !== 'replica') throw new Error(`${node?.state}: ${node?.reason}`);
          const directory = directories.get(name) ?? '';
          const settings = readFileSync(join(directory, 'postgresql.auto.conf'), 'utf8');
          assert.ok(!/fairlead_fence|fairlead:/.test(settings), settings);
          const [row] = await cluster
            .node(name)
            .query<{ readonly: string; conninfo: string }>(
              `SELECT current_setting('default_transaction_read_only') AS readonly, current_setting('primary_conninfo') AS conninfo`,
            );
          assert.equal(row?.readonly, 'off');
          assert.equal(splitMark(row.conninfo).mark, null);
          return true;
        },
        { what: `${name} to serve reads`, timeoutMs: 30_000 },
      );

    it('in order: the old primary is stopped, its replica promoted, and it comes back as a standby', async () => {
      await cluster.node('pg1').stop('fast');
      await cluster.node('pg2').query('SELECT pg_promote()');
      await isPrimary('pg2');
      if (mode === 'follow') await turn('pg3', 'pg2');
      makeStandby('pg1', 'pg2');
      await cluster.node('pg1').start();
      await serves('pg1');
      await serves('pg3');
      assert.deepEqual(await events('failover'), [], 'nobody else was promoted');
      assert.equal(fairlead.app.cluster.assignment.value.fenced.size, 0);
    });

    it('the other way round: promoted while the old primary still runs, which is fenced until it is a standby', async () => {
      await cluster.node('pg1').query('SELECT pg_promote()');
      const promotedMs = performance.now();
      const { assignment } = fairlead.app.cluster;
      await until(() => assignment.value.primary === 'pg1', { what: 'pg1 as the primary', everyMs: 5 });
      movedMs = performance.now();
      assert.ok(movedMs - promotedMs < 2000, `seen after ${movedMs - promotedMs} ms`);
      await isPrimary('pg1');
      await until(() => state('pg2')?.state === 'needs rejoin', { what: 'pg2 to be set aside' });
      if (mode === 'automatic') await until(async () => (await events('fence-set')).length > 0, { what: 'a fence' });
      else await turn('pg3', 'pg1');
      // it has written beyond the fork: it can be started as a standby, and cannot follow
      await cluster.node('pg2').stop('fast');
      makeStandby('pg2', 'pg1');
      await cluster.node('pg2').start();
      await until(() => state('pg2')?.role === 'replica', { what: 'pg2 as a replica', timeoutMs: 20_000 });
      assert.deepEqual([state('pg2')?.state, state('pg2')?.readable], ['needs rejoin', false]);
      await journal.progress();
    });

    it('nobody else was promoted, and what was acknowledged is there', async () => {
      await watch.stop();
      const writers = [...watch.writersByTimeline()].map(([timeline, names]) => [timeline, [...names]]);
      assert.deepEqual(writers, [
        [1, ['pg1']],
        [2, ['pg2']],
        [3, ['pg1']],
      ]);
      await journal.stop();
      assert.deepEqual(
        journal.connections.map(({ lost }) => lost).filter((reason) => reason !== null),
        [],
      );
      const { lost } = journal.compare(await cluster.node('pg1').query<{ id: number }>('SELECT id FROM journal'));
      // two were writable until the promotion was seen: that is what one gets who does it in this order
      const late = journal.acknowledged.filter(({ id, startedMs }) => lost.includes(id) && startedMs > movedMs);
      assert.deepEqual(late, []);
      const early = journal.acknowledged.filter(({ id, endedMs }) => lost.includes(id) && endedMs < movedMs - 3000);
      assert.deepEqual(early, []);
    });
  });
}

describe('an operator promotes while Fairlead fails over by itself', { skip: SKIP, timeout: 120_000 }, () => {
  let cluster: TestCluster;
  let breakpoints: Breakpoints;
  let fairlead: TestFairlead;
  let watch: ClusterWatch;

  before(async () => {
    cluster = await startTestCluster();
    breakpoints = await Breakpoints.before(cluster);
    const nodes = Object.fromEntries(
      cluster.nodes.map(({ name }) => [name, { address: `127.0.0.1:${breakpoints.port(name)}` }]),
    );
    fairlead = await startFairlead(cluster, {
      config: { failover: { timeout: '1s' } },
      cluster: { nodes, probe_interval: '150ms', probe_timeout: '500ms' },
    });
    await untilServing(fairlead, 2);
    watch = new ClusterWatch(cluster);
  });
  after(async () => {
    await watch?.stop();
    await fairlead?.stop();
    breakpoints?.stop();
    await cluster?.stop();
  });

  const assignment = () => fairlead.app.cluster.assignment.value;
  const settled = async (primary: string) => {
    const rests = () => {
      const { phase, primary: now, reason } = assignment();
      if (phase !== 'steady' || now !== primary) throw new Error(`${phase} ${now}: ${reason}`);
      return true;
    };
    await until(rests, { what: `${primary} as the primary`, timeoutMs: 20_000 });
  };
  /** Fairlead is about to stop that replica from receiving: it is promoted by hand, and that statement lost. */
  const promoteAtFreeze = (name: string): (() => Promise<unknown>) => {
    let promoting: Promise<unknown> | null = null;
    breakpoints.watch = {
      decide: ({ node, statement }) =>
        promoting === null && node === name && /fairlead:frozen/.test(statement) ? 'cut before' : 'pass',
      cut: () => {
        promoting = cluster.node(name).query('SELECT pg_promote()');
      },
    };
    return async () => {
      await until(() => promoting !== null, { what: 'a failover' });
      await promoting;
    };
  };

  it('nobody else is promoted, and the one that was is the primary', async () => {
    const promoted = promoteAtFreeze('pg2');
    await cluster.node('pg1').kill9();
    await promoted();
    await settled('pg2');
    await until(() => cluster.node('pg2').query('CREATE TABLE kept (id int)'), { what: 'a write on pg2' });
    const there = `SELECT WHERE to_regclass('kept') IS NOT NULL`;
    await until(async () => (await cluster.node('pg3').query(there)).length === 1, {
      what: 'pg3 behind pg2',
      timeoutMs: 20_000,
    });
    await watch.stop();
    const writers = watch.writersByTimeline();
    assert.deepEqual([...(writers.get(2) ?? [])], ['pg2']);
    assert.ok(!writers.has(3), 'there was one promotion');
  });
});
