/** What becomes of a switchover whose target fails after the old primary has handed over. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { splitMark } from '../../src/cluster/mark.ts';
import { Breakpoints } from '../support/breakpoints.ts';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { ClusterWatch } from '../support/cluster-watch.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { httpGet, httpPost, type Json } from '../support/http.ts';
import { Journal } from '../support/journal.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const SKIP = usesDocker() ? 'this machine cannot: single processes in containers are out of reach' : false;
/** The last thing that is asked of the target before it is told. */
const MARKS = /fairlead:promote/;
const TELLS = /pg_promote/;

describe('a switchover whose target fails after the hand-over', { skip: SKIP, timeout: 180_000 }, () => {
  let cluster: TestCluster;
  let breakpoints: Breakpoints;
  let fairlead: TestFairlead;
  let journal: Journal;
  let watch: ClusterWatch;

  const start = async () => {
    const nodes = Object.fromEntries(
      cluster.nodes.map(({ name }) => [name, { address: `127.0.0.1:${breakpoints.port(name)}` }]),
    );
    fairlead = await startFairlead(cluster, {
      config: { failover: { timeout: '2s' } },
      cluster: { nodes, probe_interval: '150ms' },
    });
  };
  before(async () => {
    cluster = await startTestCluster();
    breakpoints = await Breakpoints.before(cluster);
    await start();
    await untilServing(fairlead, 2);
    journal = await Journal.start(fairlead.url, 4);
    watch = new ClusterWatch(cluster);
    await until(() => journal.acknowledged.length > 50, { what: 'writes', timeoutMs: 30_000 });
  });
  after(async () => {
    await watch?.stop();
    await journal?.stop().catch(() => {});
    await fairlead?.stop();
    breakpoints?.stop();
    await cluster?.stop();
  });

  const events = async (kind: string): Promise<Json[]> => {
    const { body } = await httpGet(`${fairlead.http}/api/events`);
    return body.events.filter((event: Json) => event.kind === kind);
  };
  /** Does something at the first statement to the target that looks so, before it gets there or after it was carried out. */
  const at = (node: string, look: RegExp, when: 'pass' | 'cut before' | 'cut after', run: () => void) => {
    let done = false;
    breakpoints.watch = {
      decide: (step) => {
        if (done || step.node !== node || !look.test(step.statement)) return 'pass';
        done = true;
        if (when === 'pass') run();
        return when;
      },
      cut: run,
    };
  };
  const switchTo = async (to: string) => {
    await until(() => fairlead.app.cluster.observations.of(to).failure === null, { what: `an answer of ${to}` });
    return httpPost(`${fairlead.http}/api/switchover`, { to });
  };
  const undone = async (to: string, why: RegExp): Promise<void> => {
    const startedMs = performance.now();
    const { status, body } = await switchTo(to);
    const tookMs = performance.now() - startedMs;
    assert.equal(status, 409, JSON.stringify(body));
    assert.match(JSON.stringify(body), why);
    assert.ok(tookMs < 15_000, `took ${tookMs} ms`);
    const { assignment } = fairlead.app.cluster;
    assert.deepEqual([assignment.value.phase, assignment.value.primary], ['steady', 'pg1'], assignment.value.reason);
    await journal.progress();
    assert.deepEqual(journal.codes, {}, 'sessions have waited, and gone on');
    const told = await events('switchover-refused');
    assert.match(told[0].message, why);
    assert.deepEqual(await events('halted'), []);
    assert.deepEqual(await events('promotion-failed'), []);
    const [row] = await cluster.node('pg1').query(`SELECT current_setting('default_transaction_read_only') AS value`);
    assert.deepEqual(row, { value: 'off' });
  };
  const follows = async (name: string): Promise<void> => {
    await until(
      async () => {
        const [row] = await cluster
          .node(name)
          .query<{ conninfo: string; status: string }>(
            `SELECT current_setting('primary_conninfo') AS conninfo, (SELECT status FROM pg_stat_wal_receiver) AS status`,
          );
        assert.equal(row?.status, 'streaming');
        assert.equal(splitMark(row.conninfo).mark, null);
        assert.ok(!fairlead.app.cluster.assignment.value.fenced.has(name), 'it is taken in again');
        return true;
      },
      { what: `${name} behind the primary`, timeoutMs: 20_000 },
    );
  };

  it('one that is away is asked again for a while; then the old primary goes on, and its sessions with it', async () => {
    at('pg2', MARKS, 'cut before', () => breakpoints.sever('pg2'));
    await undone('pg2', /switchover undone: pg2 could not be promoted: before it was told to/);
    assert.equal((await events('switchover-refused')).length, 1);
    await follows('pg3');
    breakpoints.restore('pg2');
    await follows('pg2');
  });

  it('one that dies when it was told: the same, and it is turned back when it is started', async () => {
    const startup = `SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'`;
    const [{ pid } = { pid: 0 }] = await cluster.node('pg2').query<{ pid: number }>(startup);
    let died: Promise<void> | undefined;
    at('pg2', MARKS, 'pass', () => {
      // else it were done before it dies
      process.kill(pid, 'SIGSTOP');
      at('pg2', TELLS, 'cut after', () => {
        died = cluster.node('pg2').kill9();
      });
    });
    await undone('pg2', /switchover undone: pg2 could not be promoted: lost during promotion/);
    await died;
    await follows('pg3');
    await cluster.node('pg2').start();
    await follows('pg2');
    await watch.stop();
    assert.deepEqual(watch.twoWriters(), []);
    assert.deepEqual(
      [...watch.writersByTimeline()].map(([timeline, names]) => [timeline, [...names]]),
      [[1, ['pg1']]],
    );
  });

  it('one that was promoted unseen is nobody’s primary, for the next run of Fairlead neither', async () => {
    at('pg2', TELLS, 'cut after', () => breakpoints.sever('pg2'));
    await undone('pg2', /switchover undone: pg2 could not be promoted: lost during promotion/);
    assert.deepEqual(await cluster.node('pg2').query('SELECT pg_is_in_recovery() AS replica'), [{ replica: false }]);
    await journal.progress();
    await journal.stop();
    await fairlead.stop();
    breakpoints.watch = null;
    breakpoints.restore('pg2');
    await start();
    const { assignment, topology } = fairlead.app.cluster;
    await until(() => assignment.value.phase === 'steady', { what: 'a primary' });
    await until(() => topology.value.byName.get('pg2')?.state === 'needs rejoin', { what: 'pg2 to be set aside' });
    assert.equal(assignment.value.primary, 'pg1');
    const rows = await cluster.node('pg1').query<{ id: number }>('SELECT id FROM journal');
    const { lost, ghosts, duplicates, missed } = journal.compare(rows);
    assert.deepEqual({ lost, ghosts, duplicates, missed }, { lost: [], ghosts: [], duplicates: 0, missed: [] });
    await until(async () => (await events('fence-set')).length === 1, { what: 'a fence around pg2' });
    await follows('pg3');
  });

  it('one that is back in time is promoted', async () => {
    let cuts = 0;
    at('pg3', MARKS, 'cut before', () => {
      cuts++;
      breakpoints.sever('pg3');
      setTimeout(() => breakpoints.restore('pg3'), 600);
    });
    const { status, body } = await switchTo('pg3');
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual([body.primary, cuts], ['pg3', 1]);
    const rows = await cluster.node('pg3').query<{ id: number }>('SELECT id FROM journal');
    assert.deepEqual(journal.compare(rows).lost, []);
  });
});
