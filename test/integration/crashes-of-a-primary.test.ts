import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { ClusterWatch } from '../support/cluster-watch.ts';
import { Connection } from '../support/connection.ts';
import { FailoverScene } from '../support/failover-scene.ts';
import { until } from '../support/wait.ts';

const SKIP = usesDocker() ? 'this machine cannot: single processes in containers are out of reach' : false;

describe('a primary that crashes', { skip: SKIP, timeout: 200_000 }, () => {
  let scene: FailoverScene;
  let watch: ClusterWatch;
  before(async () => {
    // it comes back by itself, however long a busy machine takes for that
    scene = await FailoverScene.start({ restart_wait: '60s' });
    watch = new ClusterWatch(scene.cluster);
  });
  after(async () => {
    await watch?.stop();
    await scene?.stop();
  });

  const assignment = () => scene.fairlead.app.cluster.assignment.value;
  const started = async () => {
    const [row] = await scene.cluster.node('pg1').query('SELECT pg_conf_load_time() AS postmaster');
    return row;
  };

  it('because one of its processes was killed recovers by itself: no failover, and clients go on', async () => {
    const pg1 = scene.cluster.node('pg1');
    const before = await started();
    const [victim] = await pg1.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity WHERE usename = 'application' AND backend_type = 'client backend' LIMIT 1`,
    );
    process.kill(victim?.pid as number, 'SIGKILL');
    const gone = 'SELECT FROM pg_stat_activity WHERE pid = $1';
    await until(async () => (await pg1.query(gone, [victim?.pid])).length === 0, { what: 'the end of its recovery' });
    await scene.journal.progress();
    assert.deepEqual(await started(), before, 'the same postmaster');
    await until(() => assignment().phase === 'steady', { what: 'a steady cluster' });
    const { primary, epoch } = assignment();
    assert.deepEqual({ primary, epoch }, { primary: 'pg1', epoch: scene.epoch });
  });

  it('and is started again before failover.restart_wait is over is kept, on its timeline', async () => {
    const pg1 = scene.cluster.node('pg1');
    await pg1.kill9();
    await pg1.start();
    await scene.journal.progress();
    await until(() => assignment().phase === 'steady', { what: 'a steady cluster' });
    const { primary, epoch, timeline } = assignment();
    assert.deepEqual({ primary, epoch, timeline }, { primary: 'pg1', epoch: scene.epoch, timeline: 1 });
  });

  it('loses nothing by that, and tells nobody a lie', async (t) => {
    const { journal } = scene;
    await journal.stop();
    const rows = await scene.cluster.node('pg1').query<{ id: number }>('SELECT id FROM journal');
    assert.deepEqual(journal.compare(rows), { lost: [], ghosts: [], duplicates: 0, missed: [] });
    t.diagnostic(`${journal.acknowledged.length} acknowledged; ${JSON.stringify(journal.codes)}`);
    // outcome unknown; transaction lost; not begun, and none was there to begin it again
    assert.deepEqual(
      Object.keys(journal.codes).filter((code) => !['08007', '40001', '08006'].includes(code)),
      [],
    );
    assert.deepEqual(
      journal.connections.map(({ lost }) => lost).filter((reason) => reason !== null),
      [],
    );
    assert.deepEqual(watch.twoWriters(), []);
    assert.deepEqual(
      (await scene.api('/api/events')).events.filter(({ kind }: { kind: string }) => kind === 'failover'),
      [],
    );
  });
});

describe('a primary that crashes and does not come back', { skip: SKIP, timeout: 200_000 }, () => {
  let scene: FailoverScene;
  before(async () => {
    scene = await FailoverScene.start();
  });
  after(() => scene?.stop());

  const assignment = () => scene.fairlead.app.cluster.assignment.value;

  it('a prepared transaction is committed where its writes went', async () => {
    const client = await Connection.open(scene.fairlead.url);
    try {
      await client.rows('CREATE TABLE promised (id int)');
      await client.rows('BEGIN');
      await client.rows('INSERT INTO promised VALUES (1)');
      await client.rows(`PREPARE TRANSACTION 'promise'`);
      const prepared = "SELECT FROM pg_prepared_xacts WHERE gid = 'promise'";
      for (const name of ['pg2', 'pg3']) {
        await until(async () => (await scene.cluster.node(name).query('SELECT FROM promised')) !== null, {
          what: `the table on ${name}`,
        });
      }
      const [row] = await scene.cluster.node('pg1').query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn');
      for (const name of ['pg2', 'pg3']) {
        const reached = 'SELECT FROM pg_stat_wal_receiver WHERE pg_last_wal_replay_lsn() >= $1::pg_lsn';
        await until(async () => (await scene.cluster.node(name).query(reached, [row?.lsn])).length === 1, {
          what: `${name} to have it`,
        });
      }
      await scene.cluster.node('pg1').kill9();
      const winner = await scene.newPrimary();
      assert.equal((await scene.cluster.node(winner).query(prepared)).length, 1);
      assert.deepEqual(await client.rows('SELECT id FROM promised'), []);
      await client.rows(`COMMIT PREPARED 'promise'`);
      assert.deepEqual(await client.rows('SELECT id FROM promised'), [{ id: 1 }]);
      assert.equal(client.lost, null);
    } finally {
      await client.close();
    }
  });

  it('it gets no statement when a server of another cluster stands at its address', async () => {
    const { primary, epoch } = assignment();
    const { password } = scene.cluster;
    const stranger = await startStranger(password, scene.cluster.node('pg1').port);
    try {
      const { topology } = scene.fairlead.app.cluster;
      const pg1 = () => topology.value.byName.get('pg1');
      await until(() => pg1()?.state === 'foreign', { what: `pg1 to be foreign` });
      assert.match(pg1()?.reason ?? '', /system identifier/);
      const client = await Connection.open(scene.fairlead.url);
      await client.rows('INSERT INTO promised VALUES (2)');
      assert.equal((await client.rows('SELECT FROM promised')).length, 2);
      await client.close();
      assert.deepEqual({ primary: assignment().primary, epoch: assignment().epoch }, { primary, epoch });
      assert.deepEqual(await stranger.sessions(), []);
    } finally {
      await stranger.stop();
    }
  });
});

/** A server of its own cluster that can be reached at that port of this machine too. */
async function startStranger(password: string, port: number) {
  const cluster: TestCluster = await startTestCluster({ replicas: 0 });
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error('a cluster without a node');
  const open = new Set<net.Socket>();
  const door = net.createServer((socket) => {
    const onward = net.connect(node.port, node.host);
    for (const end of [socket, onward]) {
      open.add(end);
      end.on('error', () => {});
      end.on('close', () => void [socket, onward].map((one) => one.destroy()));
    }
    socket.pipe(onward).pipe(socket);
  });
  const own = await Connection.open(node.url);
  await own.rows(`ALTER ROLE ${cluster.superuser} PASSWORD '${password}'`);
  await own.rows(`CREATE ROLE application LOGIN PASSWORD 'app-secret'`);
  await new Promise<void>((resolve) => {
    door.listen(port, '127.0.0.1', resolve);
  });
  return {
    /** Of clients, and what of Fairlead's is more than looking. */
    sessions: () =>
      own.rows(
        `SELECT usename, application_name, query FROM pg_stat_activity WHERE backend_type = 'client backend'
           AND pid <> pg_backend_pid() AND (usename = 'application' OR query ~* '^(insert|alter|update|create)')`,
      ),
    stop: async () => {
      await own.close();
      for (const socket of open) socket.destroy();
      door.close();
      await cluster.stop();
    },
  };
}
