/** Single reads of many sessions on few server connections: each gets its own answer, and nobody waits for anybody's slow one. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { Connection } from '../support/connection.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { bind, execute, parse, q, RawClient, rowsOf, sqlStateOf, sync } from '../support/raw-client.ts';
import { showPools, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const ROWS = 60;

/** What the tests read: quick, unless the table is locked. */
const item = (id: number) => `SELECT v FROM items WHERE id = ${id}`;
const guarded = (id: number) => `SELECT v FROM guarded WHERE id = ${id}`;
const wide = (rows: number) => `SELECT repeat('x', 100000) AS v FROM generate_series(1, ${rows})`;

describe('reads of many sessions share server connections', { timeout: 240_000 }, () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  /** With one connection to share, so that it is known who stands behind whom. */
  let narrow: TestFairlead;
  const open: RawClient[] = [];
  let direct: Connection;

  async function connect(count: number, to = fairlead, parameters: Record<string, string> = {}): Promise<RawClient[]> {
    const clients = await Promise.all(Array.from({ length: count }, () => RawClient.connect(to.url, parameters)));
    open.push(...clients);
    return clients;
  }

  /** So that their pace is known. */
  async function learn(client: RawClient, ...texts: readonly string[]): Promise<void> {
    for (const text of texts) for (let i = 0; i < 5; i++) await client.query(text);
  }
  async function total(column: 'shared_reads' | 'displaced_reads', to = fairlead): Promise<number> {
    return (await showPools(to.url)).reduce((sum, pool) => sum + Number(pool[column]), 0);
  }

  before(async () => {
    cluster = await startTestCluster({ replicas: 0 });
    direct = await Connection.open(cluster.node('pg1').url);
    await direct.rows(`CREATE TABLE items AS SELECT id, 'item ' || id AS v FROM generate_series(1, ${ROWS}) id`);
    await direct.rows('CREATE TABLE guarded AS SELECT * FROM items');
    fairlead = await startFairlead(cluster, { config: { pool: { size: 8 } } });
    narrow = await startFairlead(cluster, {
      config: { pool: { size: 6, shared_connections: 1 }, failover: { mode: 'off' } },
    });
    await untilServing(fairlead, 0);
    await untilServing(narrow, 0);
  });
  after(async () => {
    for (const client of open) client.vanish();
    await direct?.close();
    await fairlead?.stop();
    await narrow?.stop();
    await cluster?.stop();
  });

  /** While nobody can read the table `guarded`. */
  async function whileGuarded(work: () => Promise<void>): Promise<void> {
    await direct.rows('BEGIN');
    await direct.rows('LOCK TABLE guarded IN ACCESS EXCLUSIVE MODE');
    try {
      await work();
    } finally {
      await direct.rows('ROLLBACK');
    }
  }

  /** The process that runs a statement on a table, once it waits for the lock. */
  const waiting = () =>
    until(
      async () => {
        const found = await fetchOther<{ pid: number }>(
          "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%guarded%'",
        );
        return found[0]?.pid;
      },
      { what: 'a statement that waits for the lock' },
    );
  async function fetchOther<Row extends Record<string, unknown>>(text: string): Promise<Row[]> {
    const other = await Connection.open(cluster.node('pg1').url);
    try {
      return await other.rows<Row>(text);
    } finally {
      await other.close();
    }
  }

  it('in every protocol, each with its own answer', async () => {
    const clients = await connect(ROWS);
    await learn(clients[0] as RawClient, item(1));
    const before = await total('shared_reads');
    const shared = async () => (await total('shared_reads')) - before;
    for (const client of clients) await client.ask(parse('SELECT v FROM items WHERE id = $1', 'mine', [23]), sync);
    const all = () =>
      Promise.all(
        clients.map(async (client, i) => {
          const id = i + 1;
          for (let round = 0; round < 30; round++) {
            const messages = [
              [q(item(id))],
              [parse(item(id)), bind(), execute(), sync],
              [bind('mine', { values: [String(id)] }), execute(), sync],
              [
                bind('mine', { values: [String(id)] }),
                execute(),
                bind('mine', { values: [String(id)] }),
                execute(),
                sync,
              ],
            ][round % 4] as Buffer[];
            const rows = rowsOf(await client.ask(...messages));
            assert.ok(rows.length > 0 && rows.every(([v]) => v === `item ${id}`), `${id}: ${JSON.stringify(rows)}`);
          }
        }),
      );
    await all();
    // on a busy machine quick reads may look slow for a while
    for (let again = 0; again < 10 && (await shared()) <= ROWS * 5; again++) await all();
    assert.ok((await shared()) > ROWS * 5, 'hardly anything was shared');
  });

  it('an error is its owner’s alone', async () => {
    const clients = await connect(40);
    const broken = (id: number) => `SELECT 1 / (id - id) FROM items WHERE id = ${id}`;
    await clients[0]?.ask(q(broken(1)));
    await learn(clients[0] as RawClient, item(1));
    await Promise.all(
      clients.map(async (client, i) => {
        for (let round = 0; round < 20; round++) {
          const fails = (i + round) % 2 === 0;
          const text = fails ? broken(i + 1) : item(i + 1);
          const answer = await client.ask(...(round % 3 === 0 ? [parse(text), bind(), execute(), sync] : [q(text)]));
          assert.equal(sqlStateOf(answer), fails ? '22012' : null);
          if (!fails) assert.deepEqual(rowsOf(answer), [[`item ${i + 1}`]]);
        }
      }),
    );
  });

  it('an error names statements as the client does', async () => {
    const clients = await connect(12, narrow);
    for (const client of clients) await client.ask(parse('SELECT v FROM items WHERE id = 1', 'mine'), sync);
    const before = await total('shared_reads', narrow);
    const shared = async () => {
      // without the Describe that drivers send
      await Promise.all(clients.map((client) => client.ask(bind('mine'), execute(), sync)));
      return (await total('shared_reads', narrow)) > before + 50;
    };
    await until(shared, { what: 'reads that share a connection' });
    const errors = clients.map(async (client) => {
      client.send(bind('mine', { values: ['300'] }), execute(), sync);
      const answer = await client.untilReady();
      return answer.find(({ type }) => type === 'E')?.body.toString() ?? 'no error';
    });
    for (const said of await Promise.all(errors)) assert.match(said, /prepared statement "mine" requires 0/);
  });

  it('sessions with other settings never meet on one', async () => {
    const zones = ['UTC', 'Asia/Tokyo', 'America/Lima'];
    const groups = await Promise.all(zones.map((TimeZone) => connect(12, fairlead, { TimeZone })));
    await Promise.all(
      groups.map((clients, i) =>
        Promise.all(
          clients.map(async (client) => {
            for (let round = 0; round < 20; round++) {
              assert.equal(await client.value("SELECT current_setting('TimeZone')"), zones[i]);
            }
          }),
        ),
      ),
    );
  });

  it('whoever stands behind a slow one is answered elsewhere', async () => {
    const [slow, ...others] = (await connect(30, narrow)) as [RawClient, ...RawClient[]];
    const before = await total('displaced_reads', narrow);
    const displaced = async () => (await total('displaced_reads', narrow)) > before;
    // on a busy machine quick reads may look slow, and then nobody is put behind them
    for (let round = 0; round < 20 && !(await displaced()); round++) {
      await learn(slow, guarded(1), item(1));
      if (round > 0) for (let i = 0; i < 40; i++) await slow.query(guarded(1)); // earns trust again
      await whileGuarded(async () => {
        slow.send(q(guarded(7)));
        // in the same moment, before anybody can know
        const behind = others.slice(0, 10).map((client, i) => client.ask(q(item(i + 1))));
        assert.deepEqual(
          (await Promise.all(behind)).map((answer) => rowsOf(answer)),
          behind.map((_, i) => [[`item ${i + 1}`]]),
        );
        for (const client of others) assert.equal(await client.value(item(9)), 'item 9');
        assert.deepEqual(slow.waiting, []);
      });
      assert.deepEqual(rowsOf(await slow.untilReady()), [['item 7']]);
    }
    assert.ok(await displaced(), 'nobody stood behind it');
  });

  it('a cancel hits the one it is meant for, at the head and behind it', async () => {
    const [slow, behind, last] = (await connect(3, narrow)) as [RawClient, RawClient, RawClient];
    for (let round = 0; round < 5; round++) {
      await learn(slow, guarded(1), item(1));
      for (let i = 0; i < 40; i++) await slow.query(guarded(1)); // earns trust again
      await whileGuarded(async () => {
        slow.send(q(guarded(2)));
        const second = behind.ask(q(item(3)));
        const third = last.ask(q(item(4)));
        await behind.cancel();
        const state = sqlStateOf(await second);
        assert.ok(state === '57014' || state === null);
        assert.deepEqual(rowsOf(await third), [['item 4']]);
        await waiting();
        await slow.cancel();
        assert.equal(sqlStateOf(await slow.untilReady()), '57014');
      });
      for (const client of [slow, behind, last]) assert.equal(await client.value(item(5)), 'item 5');
    }
  });

  it('what a client that vanished left running is ended, and nobody else notices', async () => {
    const [slow, ...others] = (await connect(6, narrow)) as [RawClient, ...RawClient[]];
    await learn(slow, item(1));
    for (let i = 0; i < 40; i++) await slow.query(guarded(1));
    await whileGuarded(async () => {
      slow.send(q(guarded(2)));
      const answers = others.map((client, i) => client.ask(q(item(i + 1))));
      await waiting();
      slow.vanish();
      for (const [i, answer] of answers.entries()) assert.deepEqual(rowsOf(await answer), [[`item ${i + 1}`]]);
      await until(
        async () =>
          (
            await fetchOther(
              "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%guarded%' AND pid <> pg_backend_pid()",
            )
          ).length === 0,
        { what: 'the end of the abandoned statement' },
      );
    });
  });

  it('survives the death of the server process', async () => {
    const [slow, ...others] = (await connect(6, narrow)) as [RawClient, ...RawClient[]];
    await learn(slow, item(1));
    for (let i = 0; i < 40; i++) await slow.query(guarded(1));
    const ended = whileGuarded(async () => {
      slow.send(q(guarded(2)));
      const answers = others.map((client, i) => client.ask(q(item(i + 1))));
      await fetchOther(`SELECT pg_terminate_backend(${await waiting()})`);
      for (const [i, answer] of answers.entries()) assert.deepEqual(rowsOf(await answer), [[`item ${i + 1}`]]);
    });
    await ended;
    assert.deepEqual(rowsOf(await slow.untilReady()), [['item 2']]);
  });

  it('a client that does not read holds up nobody', async () => {
    const [slow, ...others] = (await connect(12, narrow)) as [RawClient, ...RawClient[]];
    await learn(slow, wide(1), item(1));
    for (let i = 0; i < 40; i++) await slow.query(wide(1));
    slow.socket.pause();
    slow.send(q(wide(500)));
    for (let round = 0; round < 10; round++) {
      const answers = others.map((client, i) => client.ask(q(item(i + 1))));
      for (const [i, answer] of answers.entries()) assert.deepEqual(rowsOf(await answer), [[`item ${i + 1}`]]);
    }
    slow.socket.resume();
    assert.equal(rowsOf(await slow.untilReady()).length, 500);
  });

  it('nothing is shared where that is off, in a session’s own mode, or in a transaction', async () => {
    const before = await total('shared_reads');
    const clients = await connect(12);
    await Promise.all(
      clients.map(async (client) => {
        for (let round = 0; round < 5; round++) {
          await client.query('BEGIN');
          assert.equal(await client.value(item(2)), 'item 2');
          await client.query('COMMIT');
        }
      }),
    );
    assert.equal(await total('shared_reads'), before);
  });
});
