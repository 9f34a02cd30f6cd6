import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parseLsn } from '../../src/core/lsn.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { Connection, closeAll, openMany } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { httpGet } from '../support/http.ts';
import { show } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const CONNECTIONS = 16;
const PAIRS = 20_000;
/** A machine that is busy with something else does as many of them as it can within this. */
const WITHIN_MS = 60_000;
/** Enough to tell a share by. */
const HEALTHY_PAIRS = 5000;
const DELAY = '100ms';
/** Time that a replica on a busy machine may need to replay: for tests of how many reads go there. */
const PATIENT = '5s';
const QUICK = '100ms';

type Found = { value: number; port: number };
type Tally = { stale: number; readonly byPort: Map<number, number>; pairs: number };

/** Every way a driver can ask: the simple protocol, the extended one, and statements prepared by name. */
async function write(connection: Connection, way: number, id: number, value: number): Promise<void> {
  const text = 'UPDATE pairs SET value = $1 WHERE id = $2';
  const literal = `UPDATE pairs SET value = ${value} WHERE id = ${id}`;
  if (value % 10 === 0) {
    await connection.rows('BEGIN');
    await connection.rows(text, [value, id]);
    await connection.rows('COMMIT');
  } else if (way % 3 === 0) await connection.rows(literal);
  else if (way % 3 === 1) await connection.rows(text, [value, id]);
  else await connection.rows(text, [value, id], 'write');
}

function read(connection: Connection, way: number, id: number): Promise<Found> {
  const text = 'SELECT value, inet_server_port() AS port FROM pairs WHERE id = $1';
  if (way % 3 === 0) return connection.row<Found>(text.replace('$1', String(id)));
  return connection.row<Found>(text, [id], way % 3 === 1 ? undefined : 'read');
}

/** Each connection writes its own row and reads it back, over and over. */
async function runPairs(connections: readonly Connection[], pairs: number, from: number): Promise<Tally> {
  const tally: Tally = { stale: 0, byPort: new Map(), pairs: 0 };
  const endMs = performance.now() + WITHIN_MS;
  const one = async (connection: Connection, id: number) => {
    for (let n = 1; n <= pairs / connections.length && performance.now() < endMs; n++) {
      await write(connection, id, id, from + n);
      const { value, port } = await read(connection, id, id);
      tally.pairs++;
      if (value !== from + n) tally.stale++;
      tally.byPort.set(port, (tally.byPort.get(port) ?? 0) + 1);
    }
  };
  await Promise.all(connections.map(one));
  return tally;
}

describe('reads see their own writes', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let connections: Connection[];

  before(async () => {
    cluster = await startTestCluster();
    fairlead = await startFairlead(cluster, { config: { routing: { freshness_wait: PATIENT } } });
    connections = await openMany(fairlead.url, CONNECTIONS);
    const [first] = connections as [Connection];
    await first.rows('CREATE TABLE pairs (id int PRIMARY KEY, value int) WITH (fillfactor = 50)');
    await first.rows(`INSERT INTO pairs SELECT n, 0 FROM generate_series(0, ${CONNECTIONS - 1}) AS n`);
    await untilReplicasServe();
  });
  after(async () => {
    await closeAll(connections ?? []);
    await fairlead?.stop();
    await cluster?.stop();
  });

  async function untilReplicasServe(): Promise<void> {
    const both = async () => {
      const { nodes } = (await httpGet(`${fairlead.http}/api/cluster`)).body;
      return nodes.filter((node: { readable: boolean }) => node.readable).length === 2;
    };
    await until(both, { what: 'two replicas that serve reads' });
  }
  async function delay(node: string, time: string): Promise<void> {
    await cluster.node(node).query(`ALTER SYSTEM SET recovery_min_apply_delay = '${time}'`);
    await cluster.node(node).query('SELECT pg_reload_conf()');
    const set = async () =>
      (
        await cluster
          .node(node)
          .query<{ set: boolean }>(`SELECT current_setting('recovery_min_apply_delay')::interval = '${time}' AS set`)
      )[0]?.set === true;
    await until(set, { what: `a delay of ${time} on ${node}` });
  }
  /** It has replayed what the primary had written when this was called. */
  async function untilCaughtUp(node: string): Promise<void> {
    const [primary] = await cluster
      .node('pg1')
      .query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
    const { cluster: model } = fairlead.app;
    await until(() => model.replayLsn(node) >= parseLsn((primary as { lsn: string }).lsn), {
      what: `${node} to catch up`,
    });
  }
  /** What was read before is known to be seen by both. */
  async function untilObserved(): Promise<void> {
    const { observations } = fairlead.app.cluster;
    const nowMs = performance.now();
    const anew = (name: string) => (observations.of(name).last?.startedMs ?? 0) > nowMs;
    await until(() => anew('pg2') && anew('pg3'), { what: 'an observation of both replicas' });
  }
  const served = (tally: Tally, node: string) => tally.byPort.get(cluster.node(node).port) ?? 0;
  const shareOfReplicas = (tally: Tally) => (served(tally, 'pg2') + served(tally, 'pg3')) / tally.pairs;

  it('with healthy replicas, which serve at least four of five of those reads', async (t) => {
    const tally = await runPairs(connections, HEALTHY_PAIRS, 1_000_000);
    t.diagnostic(`${tally.stale} stale, ${(shareOfReplicas(tally) * 100).toFixed(1)} % of the reads on replicas`);
    assert.equal(tally.stale, 0);
    assert.ok(shareOfReplicas(tally) >= 0.8, `${shareOfReplicas(tally)} of the reads on replicas`);
    assert.ok(served(tally, 'pg2') > 0 && served(tally, 'pg3') > 0, 'both replicas serve');
  });

  // a wait for the walwriter (200 ms by default) would be longer than that for freshness: such reads went to the primary
  it('on replicas also behind what no commit flushes: a NOTIFY, a rollback, the value of a sequence', async (t) => {
    const pg1 = cluster.node('pg1');
    await pg1.query("ALTER SYSTEM SET wal_writer_delay = '10s'");
    await pg1.query('SELECT pg_reload_conf()');
    const [first] = connections as [Connection];
    await first.rows('CREATE SEQUENCE numbers');
    const scripts = [['NOTIFY nobody'], ['BEGIN', 'DELETE FROM pairs', 'ROLLBACK'], ["SELECT nextval('numbers')"]];
    try {
      let replicas = 0;
      for (let round = 0; round < 12; round++) {
        for (const text of scripts[round % 3] as string[]) await first.rows(text);
        const { port } = await read(first, 0, 0);
        if (port !== pg1.port) replicas++;
      }
      t.diagnostic(`${replicas} of 12 on replicas`);
      assert.ok(replicas >= 8, `${replicas} of 12 reads on replicas`);
    } finally {
      await pg1.query('ALTER SYSTEM RESET wal_writer_delay');
      await pg1.query('SELECT pg_reload_conf()');
    }
  });

  it('while one replica replays everything late', async (t) => {
    await show(fairlead.url, `SET routing.freshness_wait = '${QUICK}'`);
    await delay('pg3', DELAY);
    const tally = await runPairs(connections, PAIRS, 2_000_000);
    t.diagnostic(`${tally.stale} stale, ${(shareOfReplicas(tally) * 100).toFixed(1)} % of the reads on replicas`);
    assert.equal(tally.stale, 0);
    assert.ok(tally.pairs > 1000, `${tally.pairs} pairs`);
    assert.ok(served(tally, 'pg2') > 0, 'the other replica serves');
  });

  it('and would not where nothing binds a read: this test can fail', async (t) => {
    const loose = await openMany(fairlead.url, 4);
    try {
      for (const connection of loose) await connection.rows("SET fairlead.consistency = 'eventual'");
      const tally = await runPairs(loose, 400, 3_000_000);
      t.diagnostic(`${tally.stale} of 400 stale without a floor`);
      assert.ok(tally.stale > 0);
    } finally {
      await closeAll(loose);
    }
  });

  for (const [consistency, goesBack] of [
    ['session', false],
    ['eventual', true],
  ] as const) {
    const what = goesBack
      ? 'goes back in time without a floor'
      : 'never goes back in time from one replica to the other';
    it(`a session that only reads ${what}`, async (t) => {
      const writer = await Connection.open(fairlead.url);
      const reader = await Connection.open(fairlead.url);
      try {
        await reader.rows(`SET fairlead.consistency = '${consistency}'`);
        let reads = 0;
        let back = 0;
        let last = 0;
        const nodes = new Set<number>();
        const readOnce = async () => {
          const { value, port } = await read(reader, reads++, 0);
          if (value < last) back++;
          last = value;
          nodes.add(port);
        };
        let value = goesBack ? 5_000_000 : 4_000_000;
        const enough = () => nodes.size === 2 && (!goesBack || back > 0);
        for (let round = 0; round < 5 || (!enough() && round < 40); round++) {
          let writing = true;
          const writes = (async () => {
            for (let n = 0; n < 20; n++) await write(writer, 2, 0, ++value);
          })().finally(() => {
            writing = false;
          });
          while (writing) await readOnce();
          await writes;
          // now the late replica is as good as the other, and may be read as well
          await untilCaughtUp('pg3');
          await untilObserved();
          await readOnce();
        }
        t.diagnostic(`${back} of ${reads} reads went back`);
        assert.equal(nodes.size, 2, 'both replicas serve');
        assert.equal(back > 0, goesBack);
      } finally {
        await closeAll([writer, reader]);
      }
    });
  }

  it('without waiting each time where waits are in vain, and on replicas again when they are not', async () => {
    const routing = { freshness_wait: '200ms', max_lag: '1h' };
    const impatient = await startFairlead(cluster, { config: { workers: 1, routing } });
    const { waiters } = impatient.app.cluster;
    let waits = 0;
    const add = waiters.add.bind(waiters);
    waiters.add = (waiter) => {
      // for the stream to tell what was written it is not in vain
      if ((waiter.told ?? null) === null) waits++;
      add(waiter);
    };
    const connection = await Connection.open(impatient.url);
    const replicas = ['pg2', 'pg3'];
    const primary = cluster.node('pg1').port;
    let value = 6_000_000;
    const pair = async () => {
      await write(connection, 2, 0, ++value);
      const found = await read(connection, 2, 0);
      assert.equal(found.value, value);
      return found.port;
    };
    try {
      for (const name of replicas) await delay(name, '1h');
      for (let n = 0; n < 100; n++) assert.equal(await pair(), primary);
      assert.ok(waits >= 3 && waits < 50, `${waits} waits of 100 reads`);
      for (const name of replicas) await delay(name, '0');
      await until(async () => (await pair()) !== primary, { what: 'a read on a replica' });
    } finally {
      await connection.close();
      await impatient.stop();
    }
  });
});
