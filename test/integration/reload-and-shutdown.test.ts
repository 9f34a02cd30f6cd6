/** Fairlead as a process: what a reload says and keeps, and how the signals end it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import type { ConfigInput } from '../../src/config/config.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { httpPost } from '../support/http.ts';
import { until } from '../support/wait.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.js');

type Running = {
  readonly child: ChildProcess;
  readonly port: number;
  readonly http: string;
  log(): string;
  readonly ended: Promise<number | null>;
};

describe('fairlead start', { timeout: 280_000 }, () => {
  let cluster: TestCluster;
  let directory: string;
  let file: string;
  const running: Running[] = [];
  const clients: pg.Client[] = [];

  const write = (change: Partial<Omit<ConfigInput, 'cluster'>> = {}) => {
    const { superuser, password } = cluster;
    const config: ConfigInput = {
      listen: '127.0.0.1:0',
      http: '127.0.0.1:0',
      auth: { users: { [superuser]: password } },
      shutdown_timeout: '60s',
      ...change,
      cluster: {
        user: superuser,
        password,
        nodes: Object.fromEntries(cluster.nodes.map((node) => [node.name, `${node.host}:${node.port}`])),
      },
    };
    return writeFile(file, JSON.stringify(config));
  };

  const start = async (): Promise<Running> => {
    const child = spawn(process.execPath, [MAIN, 'start', '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
    const line = await until(() => stderr.split('\n').find((text) => text.includes('"msg":"ready"')), {
      what: `fairlead to be ready: ${stderr}`,
      timeoutMs: 60_000,
    });
    const { listen, http } = JSON.parse(line) as Record<'listen' | 'http', { host: string; port: number }>;
    const one = { child, port: listen.port, http: `http://127.0.0.1:${http.port}`, log: () => stderr, ended };
    running.push(one);
    await until(async () => (await fetch(`${one.http}/readyz`)).status === 200, { what: 'a primary' });
    return one;
  };

  /** What ends it is in `client.gone`. */
  const connect = async ({ port }: Running, database = 'postgres') => {
    const client = new pg.Client({
      host: '127.0.0.1',
      port,
      user: cluster.superuser,
      password: cluster.password,
      database,
    }) as pg.Client & { gone: pg.DatabaseError | null };
    client.gone = null;
    client.on('error', (error) => {
      client.gone ??= error as pg.DatabaseError;
    });
    clients.push(client);
    await client.connect();
    return client;
  };

  before(async () => {
    cluster = await startTestCluster({ replicas: 0 });
    directory = await mkdtemp(join(tmpdir(), 'fairlead-test-'));
    file = join(directory, 'fairlead.yaml');
  });

  after(async () => {
    for (const client of clients) await client.end().catch(() => {});
    for (const { child, ended } of running) {
      child.kill('SIGKILL');
      await ended;
    }
    await rm(directory, { recursive: true, force: true });
    await cluster?.stop();
  });

  it('reads its file again on SIGHUP, over HTTP and in the console, tells the difference, and drops nobody', async () => {
    await write();
    const fairlead = await start();
    const client = await connect(fairlead);
    await client.query('BEGIN');
    await write({
      pool: { size: 7, mode: 'session' },
      databases: { other: { dbname: 'postgres', password: 'hidden' } },
    });
    fairlead.child.kill('SIGHUP');
    await until(() => fairlead.log().includes('pool.size: 20 → 7'), { what: 'the difference in the log' });
    assert.match(fairlead.log(), /databases\.other\.password: \(not set\) → …/);
    assert.ok(!fairlead.log().includes('hidden'));

    await write({ pool: { size: 8 }, log: { level: 'debug' } });
    const { status, body } = await httpPost(`${fairlead.http}/api/reload`);
    assert.equal(status, 200);
    const texts = (body.changes as { text: string }[]).map((change) => change.text);
    assert.ok(texts.includes('pool.size: 7 → 8'), texts.join());
    assert.ok(texts.includes('log.level: "info" → "debug" (takes effect after a restart)'), texts.join());

    const console = await connect(fairlead, 'fairlead');
    const notices: string[] = [];
    console.on('notice', (notice) => notices.push(notice.message ?? ''));
    await writeFile(file, 'pool: { sise: 3 }\n');
    await assert.rejects(console.query('RELOAD'), /unknown key pool\.sise; did you mean pool\.size/);
    assert.equal((await httpPost(`${fairlead.http}/api/reload`)).status, 400);
    const size = (await console.query('SHOW CONFIG')).rows.find((row) => row.key === 'pool.size');
    assert.equal(size.value, '8', 'what was in force stays');
    await write({ pool: { size: 9 } });
    await console.query('RELOAD');
    assert.ok(notices.includes('pool.size: 8 → 9'), notices.join());

    assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1, 'the open transaction is still there');
    await client.query('COMMIT');
    await client.end();
    await console.end();
    fairlead.child.kill('SIGTERM');
    assert.equal(await fairlead.ended, 0);
  });

  it('SIGTERM: ends idle clients, waits for open transactions, takes nobody new', async () => {
    await write();
    const fairlead = await start();
    const idle = await connect(fairlead);
    await idle.query('SELECT 1');
    const busy = await connect(fairlead);
    await busy.query('CREATE TABLE kept (i int)');
    await busy.query('BEGIN');
    await busy.query('INSERT INTO kept VALUES (1)');
    fairlead.child.kill('SIGTERM');
    await until(() => idle.gone?.code === '57P01', { what: 'the idle client to be ended' });
    await assert.rejects(connect(fairlead), (error: pg.DatabaseError) => error.code === '57P03');
    assert.equal((await fetch(`${fairlead.http}/readyz`)).status, 503);
    await busy.query('INSERT INTO kept VALUES (2)');
    assert.equal(fairlead.child.exitCode, null);
    await busy.query('COMMIT');
    await until(() => busy.gone?.code === '57P01', { what: 'the other client to be ended' });
    assert.equal(await fairlead.ended, 0);
    assert.equal((await cluster.node('pg1').query('SELECT count(*)::int AS n FROM kept'))[0]?.n, 2);
  });

  it('SIGTERM: does not wait for a statement that PAUSE holds', async () => {
    await write({ shutdown_timeout: 0 });
    const fairlead = await start();
    const client = await connect(fairlead);
    await httpPost(`${fairlead.http}/api/pause`);
    const held = client.query('SELECT 1').catch((error: pg.DatabaseError) => error.code);
    const state = await connect(fairlead, 'fairlead');
    const heldNow = async () => (await state.query('SHOW STATE')).rows.find((row) => row.key === 'held')?.value;
    await until(async () => (await heldNow()) === '1', { what: 'the statement to be held' });
    await state.end();
    fairlead.child.kill('SIGTERM');
    assert.equal(await held, '57P01');
    assert.equal(await fairlead.ended, 0);
  });

  it('SIGTERM: after shutdown_timeout ends whoever is left', async () => {
    await write({ shutdown_timeout: '500ms' });
    const fairlead = await start();
    const busy = await connect(fairlead);
    await busy.query('BEGIN');
    const startedMs = performance.now();
    fairlead.child.kill('SIGTERM');
    assert.equal(await fairlead.ended, 0);
    assert.ok(performance.now() - startedMs >= 499);
    await until(() => busy.gone?.code === '57P01', { what: 'the client to be told' });
  });

  it('SIGINT: waits until clients leave by themselves; the console still answers', async () => {
    await write();
    const fairlead = await start();
    const client = await connect(fairlead);
    fairlead.child.kill('SIGINT');
    await until(() => fairlead.log().includes('shutting down'), { what: 'the signal to arrive' });
    await assert.rejects(connect(fairlead), (error: pg.DatabaseError) => error.code === '57P03');
    const console = await connect(fairlead, 'fairlead');
    const clients = async () => (await console.query('SHOW CLIENTS')).rows.length;
    await until(async () => (await clients()) === 2, { what: 'the one that was refused to be gone' });
    assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
    assert.equal(client.gone, null);
    await client.end();
    assert.equal(await fairlead.ended, 0);
  });

  it('a second signal ends at once', async () => {
    await write();
    const fairlead = await start();
    const client = await connect(fairlead);
    await client.query('BEGIN');
    fairlead.child.kill('SIGINT');
    await until(() => fairlead.log().includes('shutting down'), { what: 'the first signal to arrive' });
    fairlead.child.kill('SIGTERM');
    const startedMs = performance.now();
    await fairlead.ended;
    // not only after shutdown_timeout
    assert.ok(performance.now() - startedMs < 30_000);
    await until(() => client.gone !== null, { what: 'the client to be told' });
  });

  it('SHUTDOWN in the console ends it too', async () => {
    await write();
    const fairlead = await start();
    const console = await connect(fairlead, 'pgbouncer');
    assert.equal((await console.query('SHUTDOWN')).command, 'SHUTDOWN');
    assert.equal(await fairlead.ended, 0);
  });
});
