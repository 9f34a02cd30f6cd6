import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { startFairleadProcess } from '../support/fairlead-process.ts';
import { httpGet } from '../support/http.ts';
import { isAlive } from '../support/is-alive.ts';
import { q, RawClient, sqlStateOf } from '../support/raw-client.ts';
import { show, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const WORKERS = 2;

/** Process ids of the workers, in their order. */
async function workerPids(url: string): Promise<number[]> {
  return (await show(url, 'SHOW WORKERS')).map((row) => Number(row.pid));
}

describe('two workers serve clients as one process does', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const open: RawClient[] = [];

  before(async () => {
    cluster = await startTestCluster({ replicas: 2 });
    fairlead = await startFairlead(cluster, {
      config: {
        workers: WORKERS,
        pool: { size: 6 },
        failover: { timeout: '3s' },
        // on a busy machine a replica may need that long
        routing: { freshness_wait: '1s' },
        databases: { few: { dbname: 'postgres', max_clients: 3 } },
      },
      auth: { users: { [cluster.superuser]: cluster.password, mortal: 'secret' } },
    });
    await untilServing(fairlead, 2);
    await cluster.node('pg1').query(`CREATE ROLE mortal LOGIN PASSWORD 'secret'; CREATE TABLE counted (id int);
      CREATE TABLE held (id int)`);
  });
  after(async () => {
    for (const one of open) one.vanish();
    await fairlead?.stop();
    await cluster?.stop();
  });

  async function connect(url = fairlead.url): Promise<RawClient> {
    const client = await RawClient.connect(url);
    open.push(client);
    return client;
  }

  /** Another one is in its place. */
  function untilReplaced(pid: number): Promise<unknown> {
    const replaced = async () => {
      const pids = await workerPids(fairlead.url);
      return pids.length === WORKERS && !pids.includes(pid);
    };
    return until(replaced, { what: 'another worker' });
  }

  /** One client at each worker. */
  async function pair(): Promise<[RawClient, RawClient]> {
    const found = new Map<number, RawClient>();
    const further: RawClient[] = [];
    while (found.size < WORKERS) {
      const client = await connect();
      const worker = client.pid % WORKERS;
      if (found.has(worker)) further.push(client);
      else found.set(worker, client);
    }
    for (const client of further) await client.end();
    return [found.get(0), found.get(1)] as [RawClient, RawClient];
  }

  /** Its statement is under way on a server. */
  function untilActive({ pid }: RawClient): Promise<unknown> {
    const runs = async () =>
      (await show(fairlead.url, 'SHOW CLIENTS')).some((row) => row.state === 'active' && row.id === String(pid));
    return until(runs, { what: 'the statement to run' });
  }

  function urlOf(user: string, password: string): string {
    const url = new URL(fairlead.url);
    url.username = user;
    url.password = password;
    return url.href;
  }

  it('shares clients out, and knows them all', async () => {
    const clients = await Promise.all(Array.from({ length: 10 }, () => connect()));
    const workers = new Set(clients.map(({ pid }) => pid % WORKERS));
    assert.equal(workers.size, WORKERS);
    const shown = (await show(fairlead.url, 'SHOW CLIENTS')).map((row) => Number(row.id));
    for (const { pid } of clients) assert.ok(shown.includes(pid));
    // who asks is a client too
    const shares = (await show(fairlead.url, 'SHOW WORKERS')).map((row) => Number(row.clients));
    // connections that have ended since were counted when these came
    assert.ok(
      shares.every((clients) => clients >= 3),
      shares.join(),
    );
    for (const client of clients) await client.end();
  });

  it('passes a cancel request on to the worker of the statement', async () => {
    for (const client of await pair()) {
      for (let i = 0; i < 3; i++) {
        const answer = client.ask(q('SELECT pg_sleep(30)'));
        await untilActive(client);
        await client.cancel();
        assert.equal(sqlStateOf(await answer), '57014');
      }
      const wrong = client.ask(q('SELECT pg_sleep(0.3)'));
      await client.cancel(client.pid, Buffer.from('nope'));
      assert.equal(sqlStateOf(await wrong), null, 'a wrong secret cancels nothing');
      await client.end();
    }
  });

  it('signals sessions of the other worker, with the rights that PostgreSQL asks for', async () => {
    const [one, other] = await pair();
    const mortal = await connect(urlOf('mortal', 'secret'));
    const target = mortal.pid % WORKERS === 0 ? other : one;
    assert.equal(sqlStateOf(await mortal.ask(q(`SELECT pg_cancel_backend(${target.pid})`))), '42501');
    const asleep = other.ask(q('SELECT pg_sleep(30)'));
    await untilActive(other);
    assert.equal(await one.value(`SELECT pg_cancel_backend(${other.pid})`), 't');
    assert.equal(sqlStateOf(await asleep), '57014');
    assert.equal(await one.value(`SELECT pg_terminate_backend(${other.pid})`), 't');
    await until(() => other.ended, { what: 'the end of the other' });
    const terminated = () => one.value(`SELECT pg_terminate_backend(${other.pid})`);
    await until(async () => (await terminated()) === 'f', { what: 'it to be nobody’s any more' });
    await one.end();
    await mortal.end();
  });

  it('reads what was written, at each worker, and with strong what anybody has', async () => {
    const [one, other] = await pair();
    await other.query('SET fairlead.consistency = strong');
    for (let i = 1; i <= 100; i++) {
      const writer = i % 2 === 0 ? one : other;
      await writer.query(`INSERT INTO counted VALUES (${i})`);
      assert.equal(await writer.value('SELECT count(*) FROM counted'), String(i), `${i}: what it wrote`);
      assert.equal(await other.value('SELECT count(*) FROM counted'), String(i), `${i}: strong`);
    }
    const counted = async () => {
      const { body } = await httpGet(`${fairlead.http}/api/traffic`);
      return body.reads.total >= 200 ? body : null;
    };
    const traffic = await until(counted, { what: 'reads of both to be counted' });
    assert.ok(traffic.readsOnReplicasEver > 0.5, `of those, ${traffic.readsOnReplicasEver} on replicas`);
    await one.end();
    await other.end();
  });

  it('waits for a replica that is behind, in both', async () => {
    const [one, other] = await pair();
    for (const name of ['pg2', 'pg3']) await cluster.node(name).query('SELECT pg_wal_replay_pause()');
    try {
      const before = await one.value('SELECT count(*) FROM held');
      for (const writer of [one, other]) {
        await writer.query('SET fairlead.consistency = session');
        await writer.query('INSERT INTO held VALUES (1)');
        assert.notEqual(await writer.value('SELECT count(*) FROM held'), before, 'not from a replica that is behind');
      }
    } finally {
      for (const name of ['pg2', 'pg3']) await cluster.node(name).query('SELECT pg_wal_replay_resume()');
    }
    await one.end();
    await other.end();
  });

  it('counts clients over all workers where there is a limit', async () => {
    const few = fairlead.url.replace(/postgres$/, 'few');
    const clients = await Promise.all([connect(few), connect(few), connect(few)]);
    await assert.rejects(connect(few), /too many clients for database "few": 3 are allowed/);
    await clients[0]?.end();
    const next = await until(() => connect(few), { what: 'a place to be free' });
    await assert.rejects(connect(few), /too many clients/);
    for (const client of [...clients.slice(1), next]) await client.end();
    let most = 0;
    const allAtOnce = async () => {
      const crowd = await Promise.allSettled(Array.from({ length: 20 }, () => connect(few)));
      const inside = crowd.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
      most = Math.max(most, inside.length);
      for (const one of inside) await one.end();
      return inside.length >= 3;
    };
    // those that have ended may still be counted for a moment
    await until(allAtOnce, { what: 'all places to be taken' });
    assert.equal(most, 3, 'also when all come at once');
  });

  it('pauses, resumes and reconnects all of them', async () => {
    const [one, other] = await pair();
    await show(fairlead.url, 'PAUSE');
    const waiting = [one, other].map((client) => client.value('SELECT 1'));
    await until(
      async () => (await show(fairlead.url, 'SHOW STATE')).some((row) => row.key === 'held' && row.value === '2'),
      {
        what: 'both to be held',
      },
    );
    const active = async () =>
      (await show(fairlead.url, 'SHOW POOLS')).reduce((sum, pool) => sum + Number(pool.sv_active), 0);
    await until(async () => (await active()) === 0, { what: 'nothing to be under way' });
    await show(fairlead.url, 'RESUME');
    assert.deepEqual(await Promise.all(waiting), ['1', '1']);
    await show(fairlead.url, 'SET pool.size = 4');
    const parts = async () => {
      const { pools } = (await httpGet(`${fairlead.http}/api/traffic`)).body;
      const sizes = pools.map((pool: { size: number }) => pool.size);
      if (!sizes.every((size: number) => size === 4 || size === 2)) throw new Error(sizes.join());
      return true;
    };
    await until(parts, { what: 'parts of 4 in one or two workers' });
    await one.end();
    await other.end();
  });

  it('loses only the clients of a worker that dies, and replaces it', async () => {
    const [one, other] = await pair();
    const before = (await httpGet(`${fairlead.http}/api/traffic`)).body.statements.total;
    const pids = await workerPids(fairlead.url);
    await one.query('BEGIN');
    await one.query('INSERT INTO held VALUES (7)');
    process.kill(pids[0] as number, 'SIGKILL');
    await until(() => one.ended, { what: 'the end of its client' });
    assert.equal(await other.value('SELECT 1'), '1');
    await untilReplaced(pids[0] as number);
    const next = await pair();
    assert.equal(
      await next[0].value('SELECT count(*) FROM held WHERE id = 7'),
      '0',
      'its transaction was never committed',
    );
    const total = (await httpGet(`${fairlead.http}/api/traffic`)).body.statements.total;
    assert.ok(total >= before, `counts do not fall: ${before} → ${total}`);
    for (const client of [...next, other]) await client.end();
  });

  it('replaces a worker also when sessions tell sequence values', async () => {
    const [one, other] = await pair();
    await one.query('CREATE SEQUENCE drawn');
    for (const client of [one, other]) {
      await client.query(`SELECT nextval('drawn')`);
      await client.query(`SELECT currval('drawn')`).catch(() => {});
    }
    const [, second] = await workerPids(fairlead.url);
    process.kill(second as number, 'SIGKILL');
    await untilReplaced(second as number);
    await one.end();
  });

  it('leaves the worker that asked in peace when the one it asked dies', async () => {
    const [one, other] = await pair();
    const victim = (await workerPids(fairlead.url))[1] as number;
    const admin = fairlead.url.replace(/postgres$/, 'fairlead');
    const operator = await until(
      async () => {
        const found = await connect(admin);
        return found.pid % WORKERS === 0 ? found : null;
      },
      { what: 'an operator at the first worker' },
    );
    process.kill(victim, 'SIGSTOP');
    const signalled = one.ask(q(`SELECT pg_cancel_backend(${other.pid})`));
    const refused = operator.ask(q('PAUSE'));
    // some of these come to the other worker, and none of them may hang
    const cancelled = Promise.allSettled(Array.from({ length: 6 }, () => other.cancel()));
    assert.equal(sqlStateOf(await refused), '55000');
    process.kill(victim, 'SIGKILL');
    assert.equal(sqlStateOf(await signalled), null);
    await cancelled;
    assert.equal(await one.value('SELECT 1'), '1');
    await untilReplaced(victim);
    assert.deepEqual(
      (await show(fairlead.url, 'SHOW STATE')).filter((row) => row.key === 'paused').map((row) => row.value),
      ['no'],
    );
    await one.end();
  });

  it('ends clients that were on their way to a worker that dies', async () => {
    const victim = (await workerPids(fairlead.url))[0] as number;
    process.kill(victim, 'SIGSTOP');
    const comers = Array.from({ length: 4 }, () => new RawClient(fairlead.url));
    const logins = Promise.allSettled(comers.map((client) => client.logIn()));
    // some are logged in by the other worker
    await until(() => comers.some(({ pid }) => pid !== 0), { what: 'a login' });
    process.kill(victim, 'SIGKILL');
    for (const [i, { status }] of (await logins).entries()) {
      assert.ok(status === 'fulfilled' || comers[i]?.ended === true, 'neither in nor out');
    }
    for (const client of comers) client.vanish();
    await untilReplaced(victim);
  });

  it('counts clients exactly at the limit of all', async () => {
    const clients = (await show(fairlead.url, 'SHOW LISTS')).find((row) => row.list === 'used_clients');
    await show(fairlead.url, `SET pool.max_clients = ${Number(clients?.items) + 1}`);
    const held = [await connect(), await connect()];
    for (let i = 0; i < 100; i++) {
      held.shift()?.vanish();
      // until it is known that the other one has left
      held.push(await until(() => connect(), { what: 'its place' }));
    }
    // clients of other tests may have left since they were counted
    const refused = await until(
      () =>
        connect().then(
          (one) => held.push(one) < 0,
          (error: Error) => error.message,
        ),
      { what: 'the limit to be reached' },
    );
    assert.match(String(refused), /too many clients/);
    await show(fairlead.url, 'SET pool.max_clients = 10000');
    for (const client of held) await client.end();
  });

  it('promotes no replica while a worker may still write to the old primary', async () => {
    const [one, other] = await pair();
    const pids = await workerPids(fairlead.url);
    const frozen = pids[0] as number;
    process.kill(frozen, 'SIGSTOP');
    await cluster.node('pg1').kill9();
    const answer = other.ask(q('INSERT INTO counted VALUES (0)'));
    assert.equal(sqlStateOf(await answer), null, 'held until there is a primary');
    assert.equal(isAlive(frozen), false, 'it was ended before');
    await until(() => one.ended, { what: 'the end of its client' });
    const [again] = await until(() => pair(), { what: 'another worker' });
    assert.equal(await again.value('SELECT count(*) FROM counted WHERE id = 0'), '1');
    await other.end();
  });

  it('leaves no process behind', async () => {
    const pids = await workerPids(fairlead.url);
    assert.ok(pids.every(isAlive));
    await fairlead.stop();
    assert.deepEqual(pids.filter(isAlive), []);
  });
});

describe('workers without their control process', () => {
  it('read nothing from replicas while it does not say how far behind they are', async () => {
    const cluster = await startTestCluster({ replicas: 1 });
    const fairlead = await startFairleadProcess(cluster, { workers: WORKERS, failover: { mode: 'off' } });
    try {
      await untilServing(fairlead, 1);
      const client = await RawClient.connect(fairlead.url);
      await client.query('SET fairlead.consistency = eventual');
      await cluster.node('pg1').query('CREATE TABLE seen (id int)');
      const count = () => client.value('SELECT count(*) FROM seen');
      const from = async () => {
        await count();
        return (await client.records('SHOW fairlead.route'))[0]?.node;
      };
      await until(async () => (await from()) === 'pg2', { what: 'reads on the replica' });
      await cluster.node('pg2').query('SELECT pg_wal_replay_pause()');
      process.kill(fairlead.pid, 'SIGSTOP');
      await cluster.node('pg1').query('INSERT INTO seen VALUES (1)');
      await until(async () => (await count()) === '1', { what: 'reads on the primary' });
      assert.equal(await from(), 'pg1');
      process.kill(fairlead.pid, 'SIGCONT');
      await cluster.node('pg2').query('SELECT pg_wal_replay_resume()');
      await until(async () => (await from()) === 'pg2', { what: 'reads on the replica again' });
      await client.end();
    } finally {
      process.kill(fairlead.pid, 'SIGCONT');
      await fairlead.stop();
      await cluster.stop();
    }
  });

  it('end', async () => {
    const cluster = await startTestCluster({ replicas: 0 });
    try {
      const fairlead = await startFairleadProcess(cluster, { workers: WORKERS });
      await untilServing(fairlead, 0);
      const client = await RawClient.connect(fairlead.url);
      const pids = await workerPids(fairlead.url);
      assert.equal(pids.length, WORKERS);
      process.kill(fairlead.pid, 'SIGKILL');
      await until(() => client.ended && !pids.some(isAlive), { what: 'the end of the workers' });
      await fairlead.stop();
    } finally {
      await cluster.stop();
    }
  });
});
