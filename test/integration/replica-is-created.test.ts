import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { freePort } from '../../src/embedded/free-port.ts';
import { killAllOf, removeSharedMemoryOf } from '../../src/embedded/postgres-processes.ts';
import { AGENT_TOKEN, NO_AGENTS, placesOfServer, startAgent } from '../support/agent.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { runCommandLine } from '../support/command-line.ts';
import { Connection } from '../support/connection.ts';
import { startFairlead } from '../support/fairlead.ts';
import { untilServing } from '../support/serving.ts';
import { queryOnce } from '../support/test-cluster.ts';
import { until } from '../support/wait.ts';
import { CHECKSUMS, WriteLoad } from '../support/write-load.ts';

describe('fairlead replica create', { skip: NO_AGENTS }, () => {
  let cluster: TestCluster;
  let directory: string;
  let config: string;
  let bin: string;
  let load: WriteLoad;
  const made: string[] = [];

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    directory = mkdtempSync(join(tmpdir(), 'replica-is-created-'));
    const places = await placesOfServer(cluster, 'pg1');
    bin = places.bin;
    // the directory's owner is who the server will run as
    const { uid, gid } = statSync(places.data);
    chownSync(directory, uid, gid);
    chmodSync(directory, 0o755);
    config = join(directory, 'fairlead.yaml');
    const nodes = Object.fromEntries(cluster.nodes.map((node) => [node.name, `${node.host}:${node.port}`]));
    const { superuser: user, password } = cluster;
    writeFileSync(config, JSON.stringify({ cluster: { user, password, nodes }, agent: { token: AGENT_TOKEN } }));
    load = await WriteLoad.start(cluster.node('pg1').url, 'loaded');
  });
  after(async () => {
    await load?.stop();
    for (const data of made) {
      killAllOf(data);
      removeSharedMemoryOf(data);
    }
    await cluster?.stop();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  const urlOf = (port: number) => `postgres://${cluster.superuser}:${cluster.password}@127.0.0.1:${port}/postgres`;

  async function assertReplica(port: number, slot: string): Promise<void> {
    const pg1 = cluster.node('pg1');
    const [row] = await queryOnce<{ recovery: boolean; slot: string }>(
      urlOf(port),
      `SELECT pg_is_in_recovery() AS recovery, current_setting('primary_slot_name') AS slot`,
    );
    assert.deepEqual(row, { recovery: true, slot });
    const [active] = await pg1.query('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [slot]);
    assert.deepEqual(active, { active: true });
  }

  it('makes a replica on this machine while clients write, and says what to add to the configuration', async () => {
    const port = await freePort();
    const data = join(directory, 'pg3');
    made.push(data);
    const args = ['replica', 'create', 'pg3', '-c', config, '--address', `127.0.0.1:${port}`];
    const { code, stdout, stderr } = await runCommandLine([...args, '--data-dir', data, '--pg-bin', bin]);
    assert.equal(code, 0, stderr);
    for (const stage of ['copying', 'starting the server', 'waiting for pg3 to stream from pg1']) {
      assert.match(stderr, new RegExp(stage));
    }
    assert.match(stdout, /pg3 was cloned and follows pg1\. Add this to the configuration and run `fairlead reload`/);
    assert.match(stdout, new RegExp(`^    pg3: 127\\.0\\.0\\.1:${port}$`, 'm'));
    assert.match(stdout, /within routing\.max_lag \(10s\)/);
    await assertReplica(port, 'fairlead_pg3');
    const again = await runCommandLine([...args, '--data-dir', data, '--pg-bin', bin]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /holds a server already; `fairlead rejoin pg3 --clone` replaces it/);
  });

  it('or by an agent on another machine, which has no data yet', async () => {
    const port = await freePort();
    const data = join(directory, 'pg4');
    made.push(data);
    const own = join(directory, 'agent.yaml');
    // a section of its own is enough; what it names as secrets elsewhere need not be there
    writeFileSync(own, `agent: { settings: { port: ${port} } }\ncluster: { password: "\${NOT_SET_HERE}" }\n`);
    const agent = await startAgent({ data, bin }, ['-c', own]);
    try {
      assert.equal((await agent.status()).exists, false);
      const args = [
        'replica',
        'create',
        'pg4',
        '-c',
        config,
        '--address',
        `127.0.0.1:${port}`,
        '--agent',
        agent.address,
      ];
      const { code, stdout, stderr } = await runCommandLine([...args, '--json']);
      assert.equal(code, 0, stderr);
      assert.equal(JSON.parse(stdout).config, `pg4: { address: "127.0.0.1:${port}", agent: "${agent.address}" }`);
      await assertReplica(port, 'fairlead_pg4');
      const status = await agent.status();
      assert.deepEqual(
        { exists: status.exists, running: status.running, accepting: status.accepting, recovery: status.inRecovery },
        { exists: true, running: true, accepting: true, recovery: true },
      );
    } finally {
      await agent.stop();
    }
  });

  it('Fairlead with the lines added reads from it, and it has the primary’s rows', async () => {
    const port = portOf(made[0] as string);
    const nodes = Object.fromEntries(cluster.nodes.map((node) => [node.name, `${node.host}:${node.port}`]));
    const fairlead = await startFairlead(cluster, { cluster: { nodes: { ...nodes, pg3: `127.0.0.1:${port}` } } });
    try {
      await untilServing(fairlead, 2);
      await load.stop();
      const [position] = await cluster
        .node('pg1')
        .query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
      await until(
        async () =>
          (
            await queryOnce<{ ok: boolean }>(urlOf(port), 'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS ok', [
              position?.lsn,
            ])
          )[0]?.ok,
        { what: 'pg3 to replay', timeoutMs: 60_000 },
      );
      assert.deepEqual(await queryOnce(urlOf(port), CHECKSUMS), await cluster.node('pg1').query(CHECKSUMS));
      const client = await Connection.open(fairlead.url);
      try {
        await until(
          async () => {
            await client.rows('SELECT count(*) FROM loaded');
            return (await client.row<{ node: string }>('SHOW fairlead.route')).node === 'pg3';
          },
          { what: 'a read on pg3' },
        );
      } finally {
        await client.close();
      }
    } finally {
      await fairlead.stop();
    }
  });
});

/** Line 4 of postmaster.pid. */
function portOf(data: string): number {
  return Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[3]);
}
