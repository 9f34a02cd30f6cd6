import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { browserPath, launchBrowser } from '../support/browser.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { configFor, startReloadable, type TestFairlead } from '../support/fairlead.ts';
import { httpGet, httpPost, type Json } from '../support/http.ts';
import { untilRested, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const PORT = 'SELECT inet_server_port() AS port';
const CLIENTS = 6;

for (const workers of [1, 2]) {
  describe(`a node is added to the configuration and it is reloaded, ${workers} process${workers > 1 ? 'es' : ''} for clients`, () => {
    let cluster: TestCluster;
    let fairlead: TestFairlead;
    /** What the file has. */
    let names = ['pg1', 'pg2'];
    const clients: pg.Client[] = [];
    const ends: Error[] = [];

    const read = () => {
      const nodes = Object.fromEntries(names.map((name) => [name, `127.0.0.1:${cluster.node(name).port}`]));
      return configFor(cluster, { config: { workers, failover: { timeout: '2s' } }, cluster: { nodes } });
    };
    const api = async (path: string): Promise<Json> => (await httpGet(`${fairlead.http}${path}`)).body;
    const node = async (name: string): Promise<Json> =>
      (await api('/api/cluster')).nodes.find((one: Json) => one.name === name);
    /** Until a read of each client is answered by that server; workers are told in turn. */
    const untilAllReadFrom = (name: string) =>
      until(
        async () => {
          const answers = await Promise.all(clients.map((client) => client.query(PORT)));
          return answers.every(({ rows }) => rows[0].port === cluster.node(name).port);
        },
        { what: `all to read from ${name}` },
      );

    before(async () => {
      cluster = await startTestCluster({ replicas: 2 });
      fairlead = await startReloadable(cluster, read);
      await untilServing(fairlead, 1);
      for (let i = 0; i < CLIENTS; i++) {
        const client = new pg.Client({ connectionString: fairlead.url });
        client.on('error', (error) => ends.push(error));
        await client.connect();
        clients.push(client);
      }
    });
    after(async () => {
      await Promise.all(clients.map((client) => client.end().catch(() => {})));
      if (fairlead !== undefined) await untilRested(fairlead);
      await fairlead?.stop();
      await cluster?.stop();
    });

    it('serves reads of clients that were there before', async () => {
      await untilAllReadFrom('pg2');
      await cluster.node('pg3').stop();
      names = ['pg1', 'pg2', 'pg3'];
      const changes = await fairlead.app.reload();
      assert.ok(changes.length > 0);
      for (const { key, live } of changes) assert.ok(key.startsWith('cluster.nodes.pg3.') && live, key);
      const waits = async () => (await api('/api/events')).events.find((event: Json) => event.kind === 'node-waits');
      assert.match((await until(waits, { what: 'it to be waited for' })).message, /pg3 .* does not answer/);
      assert.equal(await node('pg3'), undefined);
      await cluster.node('pg3').start();
      await until(async () => (await node('pg3'))?.readable, { what: 'the new node to serve reads' });
      assert.equal((await httpPost(`${fairlead.http}/api/nodes/pg2/drain`)).status, 200);
      await untilAllReadFrom('pg3');
      assert.deepEqual(await fairlead.app.reload(), [], 'it is in force');
    });

    it('is counted, drawn and told of', async () => {
      await until(
        async () => (await api('/api/traffic')).nodes.find((one: Json) => one.name === 'pg3')?.reads.total >= CLIENTS,
        {
          what: 'its reads',
        },
      );
      const before = (await api('/api/traffic')).nodes.map((one: Json) => one.name);
      assert.deepEqual(before, ['pg1', 'pg2', 'pg3']);
      await until(async () => (await api('/api/lag/history?node=pg3')).samples.length > 0, {
        what: 'samples of its lag',
      });
      const events = (await api('/api/events')).events.filter((event: Json) => event.kind === 'node-added');
      assert.deepEqual(
        events.map((event: Json) => event.node),
        ['pg3'],
      );
      assert.ok((await (await fetch(`${fairlead.http}/metrics`)).text()).includes('node="pg3"'));
    });

    it('is made to follow, or promoted, when the primary dies', async () => {
      const [client] = clients as [pg.Client];
      await client.query('CREATE TABLE joined (id int PRIMARY KEY)');
      await cluster.node('pg1').kill9();
      // what was under way may end with an unknown outcome
      await until(() => client.query('INSERT INTO joined VALUES (1) ON CONFLICT DO NOTHING'), { what: 'a write' });
      const { primary } = await api('/api/cluster');
      const other = primary === 'pg2' ? 'pg3' : 'pg2';
      assert.equal((await httpPost(`${fairlead.http}/api/nodes/pg2/undrain`)).status, 200);
      await until(async () => (await node(other)).readable, { what: `${other} to follow ${primary}` });
      assert.deepEqual((await client.query('SELECT id FROM joined')).rows, [{ id: 1 }]);
      await untilAllReadFrom(other);
      assert.deepEqual(ends, []);
    });
  });
}

describe('what does not join', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let client: pg.Client;
  /** What the file has. */
  let nodes: Record<string, string>;

  const read = () => configFor(cluster, { config: { failover: { timeout: '2s' } }, cluster: { nodes } });
  const at = (name: string, host = '127.0.0.1') => `${host}:${cluster.node(name).port}`;
  const api = async (path: string): Promise<Json> => (await httpGet(`${fairlead.http}${path}`)).body;
  const reasonOf = async (name: string): Promise<string | undefined> =>
    (await api('/api/events')).events.find((event: Json) => event.kind === 'node-waits' && event.node === name)
      ?.message;
  const untilWaiting = (name: string, why: RegExp) =>
    until(async () => why.test((await reasonOf(name)) ?? ''), { what: `${name} to wait: ${why}` });
  /** A write by a session that was there before, on the primary that was there before; and nobody else is in the cluster. */
  const assertUntouched = async () => {
    await client.query('INSERT INTO kept VALUES (1)');
    const { epoch, primary, nodes: there } = await api('/api/cluster');
    assert.deepEqual([epoch, primary, there.map((node: Json) => node.name)], [1, 'pg1', ['pg1', 'pg2']]);
    const kinds = (await api('/api/events')).events.map((event: Json) => event.kind);
    assert.ok(!kinds.includes('fence-set') && !kinds.includes('primary-changed'), kinds.join());
  };

  before(async () => {
    cluster = await startTestCluster({ replicas: 2 });
    nodes = { pg1: at('pg1'), pg2: at('pg2') };
    fairlead = await startReloadable(cluster, read);
    await untilServing(fairlead, 1);
    client = new pg.Client({ connectionString: fairlead.url });
    await client.connect();
    await client.query('CREATE TABLE kept (id int)');
  });
  after(async () => {
    await client?.end().catch(() => {});
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('another name of a node at the same address: that is a change that waits for a restart', async () => {
    nodes = { pg1: at('pg1'), renamed: at('pg2') };
    const changes = await fairlead.app.reload();
    assert.ok(changes.length > 0 && changes.every(({ live, text }) => !live && text.includes('after a restart')));
    await assertUntouched();
  });

  it('the same servers at other addresses: nobody is fenced for that', async () => {
    nodes = { pg1: at('pg1'), pg2: at('pg2'), first: at('pg1', 'localhost'), second: at('pg2', 'localhost') };
    await fairlead.app.reload();
    await untilWaiting('first', /is the same server as pg1/);
    await untilWaiting('second', /is the same server as pg2/);
    await assertUntouched();
  });

  it('a server of another cluster, until the file names a replica', async () => {
    const other = await startTestCluster({ replicas: 0 });
    try {
      const user = `CREATE ROLE "${cluster.superuser}" SUPERUSER LOGIN PASSWORD '${cluster.password}'`;
      const alter = user.replace('CREATE', 'ALTER').replace('SUPERUSER LOGIN ', '');
      await other.node('pg1').query(cluster.superuser === other.superuser ? alter : user);
      nodes = { pg1: at('pg1'), pg2: at('pg2'), foreign: `127.0.0.1:${other.node('pg1').port}` };
      await fairlead.app.reload();
      await untilWaiting('foreign', /is of another cluster/);
      await assertUntouched();
    } finally {
      await other.stop();
    }
  });

  it("one that somebody has promoted: its writes are not the cluster's", async () => {
    await cluster.node('pg3').query('SELECT pg_promote()');
    nodes = { pg1: at('pg1'), pg2: at('pg2'), stray: at('pg3') };
    await fairlead.app.reload();
    await untilWaiting('stray', /is a primary, and so is pg1/);
    await assertUntouched();
    nodes = { pg1: at('pg1'), pg2: at('pg2') };
    assert.deepEqual(await fairlead.app.reload(), [], 'what has not joined is forgotten');
  });
});

describe('two new names of one server', () => {
  it('one of them joins', async () => {
    const cluster = await startTestCluster({ replicas: 1 });
    const address = (host: string, name: string) => `${host}:${cluster.node(name).port}`;
    let nodes: Record<string, string> = { pg1: address('127.0.0.1', 'pg1') };
    const read = () => configFor(cluster, { cluster: { nodes } });
    const fairlead = await startReloadable(cluster, read);
    try {
      const events = async (): Promise<Json[]> => (await httpGet(`${fairlead.http}/api/events`)).body.events;
      nodes = { ...nodes, pg2: address('127.0.0.1', 'pg2'), twin: address('localhost', 'pg2') };
      await fairlead.app.reload();
      const waits = async () =>
        (await events()).find(({ message }) =>
          /is not taken in yet: it is the same server as (pg2|twin)/.test(message),
        );
      await until(waits, { what: 'one to wait' });
      assert.equal(fairlead.app.cluster.nodes.length, 2);
    } finally {
      await fairlead.stop();
      await cluster.stop();
    }
  });
});

describe('a dashboard that is open', { skip: browserPath() === null && 'no Chromium (set CHROMIUM)' }, () => {
  it('shows the node that has joined', async () => {
    const cluster = await startTestCluster({ replicas: 1 });
    let names = ['pg1'];
    const read = () => {
      const nodes = Object.fromEntries(names.map((name) => [name, `127.0.0.1:${cluster.node(name).port}`]));
      return configFor(cluster, { cluster: { nodes } });
    };
    const fairlead = await startReloadable(cluster, read);
    const browser = await launchBrowser(browserPath() as string);
    try {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(String(error)));
      await page.goto(fairlead.http);
      await page.locator('.node .name', { hasText: 'pg1' }).first().waitFor();
      assert.equal(await page.locator('.node .name', { hasText: 'pg2' }).count(), 0);
      names = ['pg1', 'pg2'];
      await fairlead.app.reload();
      await page.locator('.node .name', { hasText: 'pg2' }).first().waitFor();
      // its line is in the plots' legend
      await page.locator('#lag-ms-legend', { hasText: 'pg2' }).first().waitFor();
      assert.deepEqual(complaints, []);
    } finally {
      await browser.close();
      await fairlead.stop();
      await cluster.stop();
    }
  });
});
