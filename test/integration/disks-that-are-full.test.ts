import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { sleep } from '../../src/core/sleep.ts';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { ClusterWatch } from '../support/cluster-watch.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { httpGet, type Json } from '../support/http.ts';
import { Journal } from '../support/journal.ts';
import { untilServing } from '../support/serving.ts';
import { needsDisks, SmallDisk } from '../support/small-disk.ts';
import { until } from '../support/wait.ts';

const SKIP = usesDocker() ? 'this machine cannot: containers have disks of their own' : needsDisks();
const MEGABYTES = 128;
/** As little WAL is kept as PostgreSQL allows. */
const SETTINGS = { min_wal_size: '32MB', max_wal_size: '48MB', wal_keep_size: 0 };
/** Four megabytes of WAL. */
const MUCH = `SELECT pg_logical_emit_message(false, 'fairlead-test', repeat('x', 4 * 1024 * 1024))`;

describe('a disk for WAL that is full', { skip: SKIP, timeout: 250_000 }, () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let journal: Journal;
  let watch: ClusterWatch;
  const disks = new Map<string, SmallDisk>();
  const logs = new Map<string, string>();

  before(async () => {
    cluster = await startTestCluster({ settings: SETTINGS });
    for (const name of ['pg3', 'pg1']) await moveWal(name);
    fairlead = await startFairlead(cluster, {
      config: {
        failover: { timeout: '4s' },
        replication: { mode: 'quorum', copies: 1 },
        routing: { max_lag: '1s' },
      },
    });
    await untilServing(fairlead, 2);
    journal = await Journal.start(fairlead.url, 6);
    watch = new ClusterWatch(cluster);
    await counted('pg2', 'pg3');
  });
  after(async () => {
    await watch?.stop();
    await fairlead?.stop();
    await journal?.stop().catch(() => {});
    await cluster?.stop();
    for (const disk of disks.values()) disk.remove();
  });

  async function moveWal(name: string): Promise<void> {
    const node = cluster.node(name);
    const [row] = await node.query<{ data_directory: string }>('SHOW data_directory');
    const data = row?.data_directory as string;
    const disk = new SmallDisk(MEGABYTES);
    disks.set(name, disk);
    logs.set(name, `${data}.log`);
    await node.stop();
    execFileSync('cp', ['-a', join(data, 'pg_wal'), join(disk.path, 'pg_wal')]);
    rmSync(join(data, 'pg_wal'), { recursive: true });
    symlinkSync(join(disk.path, 'pg_wal'), join(data, 'pg_wal'));
    await node.start();
  }

  /** Takes what is left of it, and has WAL written until its server says so. */
  async function fill(name: string): Promise<void> {
    disks.get(name)?.fill();
    const log = logs.get(name) as string;
    const told = () => /(PANIC|FATAL): .*No space left on device/.test(readFileSync(log, 'utf8'));
    const write = async () => {
      await cluster
        .node('pg1')
        .query(MUCH)
        .catch(() => {});
      return told();
    };
    await until(write, { what: `${name} without space`, timeoutMs: 60_000, everyMs: 50 });
  }

  async function counted(...nodes: readonly string[]): Promise<void> {
    const { synchrony } = fairlead.app.cluster;
    const there = () => {
      const { state, guarantee } = synchrony.value ?? {};
      return state === 'confirmed' && String(guarantee?.map((quorum) => quorum.nodes)) === String(nodes);
    };
    await until(there, { what: `${nodes} to count`, timeoutMs: 60_000 });
  }
  /** As a service manager does: PostgreSQL ends a follower that holds half a record, once. */
  async function startedAgain(name: string, done: Promise<void>): Promise<void> {
    let over = false;
    const end = () => {
      over = true;
    };
    done.then(end, end);
    while (!over) {
      await cluster.node(name).start();
      await sleep(100);
    }
    await done;
  }
  const stateOf = (name: string) => fairlead.app.cluster.topology.value.byName.get(name)?.state;
  const assignment = () => fairlead.app.cluster.assignment.value;

  it('of a replica: it leaves the reads and the quorum, and no commit waits for it', async () => {
    await fill('pg3');
    await counted('pg2');
    await until(() => stateOf('pg3') !== 'up', { what: 'pg3 to be out of the reads' });
    await journal.progress();
    assert.equal(assignment().epoch, 1);
    disks.get('pg3')?.empty();
    await cluster.node('pg3').stop('immediate');
    await cluster.node('pg3').start();
    await counted('pg2', 'pg3');
    await untilServing(fairlead, 2);
    await journal.progress();
  });

  it('of the primary: it cannot even recover, and is replaced; no acknowledged commit is lost', async (t) => {
    await fill('pg1');
    await until(() => assignment().phase === 'steady' && assignment().primary !== 'pg1', {
      what: `another primary: ${assignment().reason}`,
      timeoutMs: 60_000,
    });
    const winner = assignment().primary as string;
    await startedAgain(winner === 'pg2' ? 'pg3' : 'pg2', journal.progress(60_000));
    assert.equal(assignment().epoch, 2);
    // with room again it comes back, and is not used
    disks.get('pg1')?.empty();
    await cluster.node('pg1').stop('immediate');
    await cluster.node('pg1').start();
    await until(() => stateOf('pg1') === 'needs rejoin', { what: 'pg1 to need a rejoin' });
    await until(() => watch.of('pg1').at(-1)?.fenced, { what: 'a fence on pg1' });
    await journal.progress();
    await journal.stop();
    await watch.stop();
    const rows = await cluster.node(winner).query<{ id: number }>('SELECT id FROM journal');
    assert.deepEqual(journal.compare(rows), { lost: [], ghosts: [], duplicates: 0, missed: [] });
    t.diagnostic(`${journal.acknowledged.length} acknowledged; ${JSON.stringify(journal.codes)}`);
    const { events } = (await httpGet(`${fairlead.http}/api/events?limit=1000`)).body;
    assert.equal(events.filter(({ kind }: Json) => kind === 'failover').length, 1);
    for (const [timeline, writers] of watch.writersByTimeline()) {
      assert.equal(writers.size, 1, `timeline ${timeline} was written by ${[...writers]}`);
    }
  });
});
