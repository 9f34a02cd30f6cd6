import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { freePort } from '../../src/embedded/free-port.ts';
import { killAllOf, removeSharedMemoryOf } from '../../src/embedded/postgres-processes.ts';
import { NO_AGENTS, placesOfServer } from '../support/agent.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { runCommandLine, startCommand } from '../support/command-line.ts';
import { type Controlled, startControlled } from '../support/controlled.ts';
import { holdCopy } from '../support/held-copy.ts';
import { queryOnce } from '../support/test-cluster.ts';
import { until } from '../support/wait.ts';
import { CHECKSUMS } from '../support/write-load.ts';

const ROWS = 200_000;

describe('a new replica is made while the primary fails over', { skip: NO_AGENTS, timeout: 280_000 }, () => {
  let cluster: TestCluster;
  let fairlead: Controlled;
  let directory: string;
  let data: string;
  let args: string[];
  let port: number;

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    fairlead = await startControlled(cluster, { failover: { timeout: 4000 } });
    directory = mkdtempSync(join(tmpdir(), 'replica-across-'));
    const places = await placesOfServer(cluster, 'pg1');
    const { uid, gid } = statSync(places.data);
    chownSync(directory, uid, gid);
    chmodSync(directory, 0o755);
    const config = join(directory, 'fairlead.yaml');
    const nodes = Object.fromEntries(cluster.nodes.map((node) => [node.name, `${node.host}:${node.port}`]));
    const { superuser: user, password } = cluster;
    writeFileSync(config, JSON.stringify({ cluster: { user, password, nodes } }));
    data = join(directory, 'pg3');
    port = await freePort();
    args = ['replica', 'create', 'pg3', '-c', config, '--address', `127.0.0.1:${port}`];
    args.push('--data-dir', data, '--pg-bin', places.bin);
    await cluster
      .node('pg1')
      .query(`CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 8) AS text FROM generate_series(1, ${ROWS}) n`);
    const has = async () => (await cluster.node('pg2').query(`SELECT FROM bulk WHERE n = ${ROWS}`)).length === 1;
    await until(has, { what: 'pg2 to have the rows', timeoutMs: 60_000 });
  });
  after(async () => {
    if (data !== undefined) {
      killAllOf(data);
      removeSharedMemoryOf(data);
    }
    await fairlead?.stop();
    await cluster?.stop();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  it('the copy is given up with the primary, and nothing of it is started', async () => {
    const making = startCommand(args);
    let over = false;
    void making.ended.then(() => {
      over = true;
    });
    const goOn = await holdCopy(cluster.node('pg1'), () => over);
    assert.ok(goOn !== null, 'it was over before it could be held');
    making.child.kill('SIGSTOP');
    await cluster.node('pg1').kill9();
    goOn();
    await fairlead.steady('pg2', 60_000);
    making.child.kill('SIGCONT');
    const { code, stderr } = await making.ended;
    assert.equal(code, 1, stderr);
    assert.match(stderr, /the connection to the source is lost|the source says: /);
    assert.ok(!existsSync(join(data, 'PG_VERSION')), 'half a copy is nobody’s data directory');
    await assert.rejects(queryOnce(`postgres://127.0.0.1:${port}/postgres`, 'SELECT 1'), { code: 'ECONNREFUSED' });
  });

  it('run again it is a copy of the new primary, on its timeline, with a slot there', async () => {
    await cluster.node('pg2').query('CREATE TABLE later AS SELECT 1 AS id');
    const { code, stdout, stderr } = await runCommandLine(args);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /pg3 was cloned and follows pg2/);
    const url = `postgres://${cluster.superuser}:${cluster.password}@127.0.0.1:${port}/postgres`;
    const [receiver] = await queryOnce(url, 'SELECT status, received_tli AS timeline FROM pg_stat_wal_receiver');
    assert.deepEqual(receiver, { status: 'streaming', timeline: 2 });
    const [slot] = await cluster
      .node('pg2')
      .query(`SELECT active FROM pg_replication_slots WHERE slot_name = 'fairlead_pg3'`);
    assert.deepEqual(slot, { active: true });
    assert.deepEqual(await queryOnce(url, CHECKSUMS), await cluster.node('pg2').query(CHECKSUMS));
  });
});
