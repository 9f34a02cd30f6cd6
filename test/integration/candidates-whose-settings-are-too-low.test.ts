/**
 * A standby whose max_connections is lower than the primary's pauses its replay by itself when it learns that, and PostgreSQL ends it when it is promoted.
 * https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN (14 and later; before, it ends).
 */
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { ControlNodes } from '../../src/failover/control-nodes.ts';
import { freeze, NotReplicaError } from '../../src/failover/freeze.ts';
import { Upstreams } from '../../src/failover/upstreams.ts';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { type Controlled, startControlled } from '../support/controlled.ts';
import { NO_TLS } from '../support/server-tls.ts';
import { until } from '../support/wait.ts';

const SKIP = usesDocker() ? 'this machine cannot: files in containers are out of reach' : false;

describe('candidates whose settings are too low', { skip: SKIP, timeout: 250_000 }, () => {
  let cluster: TestCluster;
  let fairlead: Controlled;
  before(async () => {
    cluster = await startTestCluster();
    // among equals pg2 is elected
    fairlead = await startControlled(cluster, {
      failover: { timeout: 4000, restart_wait: 4000 },
      nodes: { pg2: { weight: 9 } },
    });
  });
  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
  });

  async function raise(name: string, connections: number): Promise<void> {
    const node = cluster.node(name);
    await node.query(`ALTER SYSTEM SET max_connections = ${connections}`);
    await node.stop('fast');
    await node.start();
  }
  const paused = (name: string) =>
    until(async () => (await cluster.node(name).query('SELECT WHERE pg_is_wal_replay_paused()')).length === 1, {
      what: `a pause of ${name}`,
    });
  /** It has received everything that the primary has. */
  async function received(name: string, primary: string): Promise<void> {
    const [row] = await cluster.node(primary).query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
    const has = 'SELECT WHERE pg_last_wal_receive_lsn() >= $1::pg_lsn';
    await until(async () => (await cluster.node(name).query(has, [row?.lsn])).length === 1, {
      what: `${name} to have everything`,
    });
  }
  const follows = (name: string, primary: string) =>
    until(
      async () =>
        (
          await cluster
            .node(primary)
            .query(`SELECT FROM pg_stat_replication WHERE application_name = '${name}' AND state = 'streaming'`)
        ).length === 1,
      { what: `${name} to follow ${primary}`, timeoutMs: 60_000 },
    );

  it('one that replays is preferred to one that is paused, whatever their weights', async () => {
    const pg1 = cluster.node('pg1');
    await raise('pg3', 300);
    await raise('pg1', 300);
    await fairlead.steady('pg1');
    await paused('pg2');
    await follows('pg3', 'pg1');
    await pg1.query('CREATE TABLE kept AS SELECT 1 AS id');
    await received('pg2', 'pg1');
    await received('pg3', 'pg1');
    await pg1.kill9();
    await fairlead.steady('pg3', 60_000);
    assert.equal((await cluster.node('pg3').query('SELECT FROM kept')).length, 1);
    assert.equal(fairlead.events.filter(({ kind }) => kind === 'promotion-failed').length, 0);
    await paused('pg2');
  });

  it('it follows when its setting is raised', async () => {
    await raise('pg2', 300);
    await follows('pg2', 'pg3');
  });

  it('there is no other: halted with the reason, until somebody raises it', async () => {
    await raise('pg3', 400);
    await fairlead.steady('pg3');
    await paused('pg2');
    await cluster.node('pg3').query('INSERT INTO kept VALUES (2)');
    const [row] = await cluster
      .node('pg2')
      .query<{ file: string }>(`SELECT current_setting('data_directory') || '/postgresql.auto.conf' AS file`);
    await received('pg2', 'pg3');
    await cluster.node('pg3').kill9();
    const { assignment } = fairlead.model;
    await until(
      () =>
        assignment.value.phase === 'halted' &&
        /pg2: lost during promotion.*its log tells why/.test(assignment.value.reason),
      {
        what: 'a halt that says why',
        timeoutMs: 60_000,
      },
    );
    // PostgreSQL has ended, and does not start as it is
    appendFileSync(row?.file ?? '', 'max_connections = 400\n');
    await cluster.node('pg2').start();
    await fairlead.steady('pg2', 60_000);
    assert.equal((await cluster.node('pg2').query('SELECT FROM kept')).length, 2);
  });

  it('one that somebody else promoted is not taken for one that stands still', async () => {
    const { superuser: user, password } = cluster;
    const nodes = new ControlNodes((name) => {
      const { host, port } = cluster.node(name);
      return { name, host, port, tls: NO_TLS, database: 'postgres', user, password };
    });
    try {
      await assert.rejects(freeze(nodes, new Upstreams(), 'pg2', 3, 9), NotReplicaError);
    } finally {
      nodes.close();
    }
  });
});
