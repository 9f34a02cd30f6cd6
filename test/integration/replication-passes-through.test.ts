import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { systemPostgres } from '../support/needs.ts';
import { q, RawClient, rowsOf, sqlStateOf, typesOf } from '../support/raw-client.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const postgres = systemPostgres();
const skip = usesDocker() || postgres === null ? 'needs PostgreSQL installed by the system' : false;

/** PostgreSQL's own programs, of the servers' version. */
describe('replication connections pass through to the primary', { skip }, () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const directory = mkdtempSync(join(tmpdir(), 'fairlead-replication-'));
  const running = new Set<ChildProcess>();

  before(async () => {
    const { directory: pgBin } = postgres as { directory: string };
    cluster = await startTestCluster({ replicas: 1, pgBin });
    fairlead = await startFairlead(cluster, { config: { failover: { timeout: '4s' } } });
    await untilServing(fairlead, 1);
    await cluster.node('pg1').query('CREATE TABLE t (id int PRIMARY KEY, filler text)');
  });
  after(async () => {
    for (const child of running) child.kill('SIGKILL');
    await fairlead?.stop();
    await cluster?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  type Program = { readonly child: ChildProcess; readonly ended: Promise<number>; text(): string };

  function start(program: string, ...options: string[]): Program {
    const { hostname, port, username, password } = new URL(fairlead.url);
    const child = spawn(
      join((postgres as { directory: string }).directory, program),
      ['-h', hostname, '-p', port, '-U', username, '-w', ...options],
      { env: { ...process.env, PGPASSWORD: password, PGSSLMODE: 'disable' }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    running.add(child);
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    child.stderr.on('data', (chunk) => {
      text += chunk;
    });
    const ended = new Promise<number>((resolve) => {
      child.on('close', (code) => {
        running.delete(child);
        resolve(code ?? -1);
      });
    });
    return { child, ended, text: () => text };
  }

  it('a walsender answers its commands and SQL', async () => {
    const client = await RawClient.connect(fairlead.url, { replication: 'database', application_name: 'mine' });
    const [row] = await client.query('IDENTIFY_SYSTEM');
    assert.match(row?.[0] ?? '', /^\d+$/);
    assert.deepEqual(await client.query('SHOW application_name'), [['mine']]);
    assert.equal(
      await client.value('SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()'),
      'walsender',
    );
    const sleeping = client.ask(q('SELECT pg_sleep(60)'));
    const asleep = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    await until(async () => (await cluster.node('pg1').query(asleep)).length === 1, { what: 'a statement to cancel' });
    await client.cancel();
    assert.equal(sqlStateOf(await sleeping), '57014');
    await client.end();
    await until(
      async () =>
        (await cluster.node('pg1').query("SELECT FROM pg_stat_activity WHERE application_name = 'mine'")).length === 0,
      {
        what: 'the end of the walsender',
      },
    );
  });

  it('refusals are the server’s', async () => {
    await assert.rejects(RawClient.connect(fairlead.url, { replication: 'nonsense' }), { code: '22023' });
    const off = await RawClient.connect(fairlead.url, { replication: 'off' });
    assert.deepEqual(rowsOf(await off.ask(q('SELECT 1'))), [['1']]);
    await off.end();
  });

  it('pg_basebackup with WAL in a second connection', async () => {
    await cluster.node('pg1').query("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 20000) g");
    const target = join(directory, 'backup');
    const backup = start('pg_basebackup', '-D', target, '-X', 'stream', '-c', 'fast', '-Ft');
    assert.equal(await backup.ended, 0, backup.text());
    assert.deepEqual(readdirSync(target).sort(), ['backup_manifest', 'base.tar', 'pg_wal.tar']);
  });

  it('pg_receivewal', async () => {
    const receiver = start('pg_receivewal', '-D', directory, '--no-loop');
    await until(() => readdirSync(directory).some((name) => name.endsWith('.partial')), { what: 'a segment' });
    receiver.child.kill('SIGINT');
    assert.equal(await receiver.ended, 0, receiver.text());
  });

  it('pg_recvlogical streams changes, and ends with 57P01 when the primary changes', async () => {
    const file = join(directory, 'changes');
    const common = ['-d', 'postgres', '-S', 'passing'];
    const created = start('pg_recvlogical', ...common, '--create-slot', '-P', 'test_decoding');
    assert.equal(await created.ended, 0, created.text());
    const stream = start('pg_recvlogical', ...common, '--start', '-f', file, '-F', '0', '--no-loop');
    const rows = 30_000;
    await cluster
      .node('pg1')
      .query(`INSERT INTO t SELECT g, repeat('y', 500) FROM generate_series(100001, ${100_000 + rows}) g`);
    const inserted = () => (readFileSync(file, 'utf8').match(/INSERT/g) ?? []).length;
    await until(() => inserted() === rows, { what: 'all rows', timeoutMs: 60_000 });
    await cluster.node('pg1').freeze();
    await stream.ended;
    assert.match(stream.text(), /terminating connection: pg1 is not the primary any more/);
    await cluster.node('pg1').kill9();
    const next = await RawClient.connect(fairlead.url, { replication: 'database' });
    assert.equal(typesOf(await next.ask(q('IDENTIFY_SYSTEM'))), 'T D C Z');
    await next.end();
  });
});
