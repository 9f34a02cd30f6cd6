import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { parsePasswd } from '../../src/embedded/unprivileged-user.ts';
import { usesDocker } from '../support/cluster.ts';
import { type Running, runCommandLine, startCommand } from '../support/command-line.ts';
import { Connection } from '../support/connection.ts';
import { httpGet } from '../support/http.ts';
import { isAlive } from '../support/is-alive.ts';
import { needsRoot } from '../support/needs.ts';
import { PROJECT } from '../support/project.ts';
import { queryOnce } from '../support/test-cluster.ts';
import { until } from '../support/wait.ts';

const SKIP = usesDocker() ? 'this machine cannot: containers are not embedded servers' : false;
const ARGUMENTS = ['demo', '--json', '--replicas', '1', '--port', '0', '--http-port', '0'];

type Ready = {
  ready: boolean;
  proxy: string;
  http: string;
  nodes: { name: string; role: string; url: string; pid: number }[];
};

describe('fairlead demo leaves nothing behind', { skip: SKIP }, () => {
  let temporary: string;
  const running = new Set<Running>();
  before(() => {
    temporary = mkdtempSync(join(tmpdir(), 'demo-leaves-nothing-'));
    chmodSync(temporary, 0o755);
  });
  afterEach(() => {
    for (const { child } of running) child.kill('SIGKILL');
    running.clear();
  });
  after(() => rmSync(temporary, { recursive: true, force: true }));

  /** Each with a temporary directory of its own, which is empty afterwards. */
  function directory(name: string): string {
    const path = join(temporary, name);
    mkdirSync(path);
    chmodSync(path, 0o755);
    return path;
  }
  async function start(
    temp: string,
    args: readonly string[] = ARGUMENTS,
    options: { uid?: number; gid?: number; main?: string } = {},
  ): Promise<Running & { ready: Ready }> {
    const { main, ...user } = options;
    const env = { TMPDIR: temp, HOME: temp };
    const demo = startCommand(args, { ...user, env, cwd: temp }, ...(main === undefined ? [] : [main]));
    running.add(demo);
    demo.child.once('close', () => running.delete(demo));
    return { ...demo, ready: JSON.parse(await demo.line) as Ready };
  }
  function assertNothingLeft(temp: string, { nodes }: Ready): void {
    for (const { pid } of nodes) assert.ok(!isAlive(pid), `process ${pid}`);
    assert.deepEqual(readdirSync(temp), []);
  }

  it('prints one line with addresses that work, and removes everything after SIGTERM', async () => {
    const temp = directory('terminated');
    const demo = await start(temp);
    const { ready } = demo;
    assert.deepEqual(Object.keys(ready), ['ready', 'proxy', 'http', 'nodes']);
    assert.equal(ready.ready, true);
    assert.deepEqual(
      ready.nodes.map(({ name, role }) => [name, role]),
      [
        ['pg1', 'primary'],
        ['pg2', 'replica'],
      ],
    );
    for (const node of ready.nodes) {
      assert.ok(isAlive(node.pid));
      const [found] = await queryOnce<{ super: boolean; replica: boolean }>(
        node.url,
        "SELECT current_setting('is_superuser')::bool AS super, pg_is_in_recovery() AS replica",
      );
      assert.deepEqual(found, { super: true, replica: node.role === 'replica' });
    }
    const client = await Connection.open(ready.proxy);
    await client.rows('CREATE TABLE t (id int)');
    await client.rows('INSERT INTO t VALUES (1)');
    assert.deepEqual(await client.rows('SELECT id FROM t'), [{ id: 1 }]);
    assert.equal((await httpGet(`${ready.http}/api/cluster`)).body.primary, 'pg1');
    assert.match((await httpGet(ready.http)).text, /<html/);

    demo.child.kill('SIGTERM');
    const { code, stdout } = await demo.ended;
    assert.equal(code, 0);
    assert.equal(stdout.trimEnd().split('\n').length, 1);
    await until(() => client.lost, { what: 'the end of the client' });
    assertNothingLeft(temp, ready);
  });

  it('removes everything after Ctrl-C, with a load and a frozen server', async () => {
    const temp = directory('interrupted');
    const demo = await start(temp, [...ARGUMENTS, '--load']);
    process.kill(demo.ready.nodes[1]?.pid as number, 'SIGSTOP');
    demo.child.kill('SIGINT');
    assert.equal((await demo.ended).code, 0);
    assertNothingLeft(temp, demo.ready);
  });

  it('rejoins a primary that was killed, and leaves nothing of that either', async () => {
    const temp = directory('rejoined');
    const demo = await start(temp);
    const { http, nodes } = demo.ready;
    process.kill(nodes[0]?.pid as number, 'SIGKILL');
    type Cluster = { primary: string; phase: string; nodes: { name: string; role: string; readable: boolean }[] };
    const cluster = async () => (await httpGet(`${http}/api/cluster`)).body as Cluster;
    await until(
      async () => {
        const { primary, phase } = await cluster();
        return primary === 'pg2' && phase === 'steady';
      },
      { what: 'pg2 to be the primary', timeoutMs: 60_000 },
    );
    const { code, stdout, stderr } = await runCommandLine(['rejoin', 'pg1', '--http', http]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^pg1 was (turned around|cloned|rewound) and follows pg2$/m);
    await until(async () => (await cluster()).nodes.some(({ name, readable }) => name === 'pg1' && readable), {
      what: 'reads on pg1',
    });
    const [row] = await queryOnce<{ pid: number }>(
      nodes[0]?.url as string,
      `SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)::int AS pid`,
    );
    const pid = row?.pid as number;
    assert.ok(isAlive(pid));
    demo.child.kill('SIGTERM');
    assert.equal((await demo.ended).code, 0);
    assert.ok(!isAlive(pid));
    assertNothingLeft(temp, demo.ready);
  });

  it('removes everything when it is stopped before it is ready', async () => {
    const temp = directory('early');
    const demo = startCommand(ARGUMENTS, { env: { TMPDIR: temp } });
    running.add(demo);
    await until(() => readdirSync(temp).length > 0, { what: 'the beginning of a cluster' });
    demo.child.kill('SIGINT');
    assert.equal((await demo.ended).code, 0);
    assert.deepEqual(readdirSync(temp), []);
  });

  it('removes what a run left behind that was killed', async () => {
    const temp = directory('killed');
    const killed = await start(temp);
    killed.child.kill('SIGKILL');
    await killed.ended;
    assert.ok(readdirSync(temp).length > 0);
    const next = await start(temp);
    for (const { pid } of killed.ready.nodes) assert.ok(!isAlive(pid), `process ${pid}`);
    next.child.kill('SIGTERM');
    await next.ended;
    assertNothingLeft(temp, next.ready);
  });

  it('keeps an empty directory that was the user’s', async () => {
    const temp = directory('own');
    const data = directory('own-data');
    const demo = await start(temp, [...ARGUMENTS, '--data-dir', data]);
    assert.ok(readdirSync(data).includes('pg1'));
    demo.child.kill('SIGTERM');
    await demo.ended;
    assertNothingLeft(temp, demo.ready);
    assert.ok(existsSync(data));
    assert.deepEqual(readdirSync(data), []);
  });

  it('as an ordinary user', { skip: needsRoot() }, async () => {
    const nobody = parsePasswd(readFileSync('/etc/passwd', 'utf8')).find((user) => user.name === 'nobody');
    assert.ok(nobody !== undefined);
    const temp = directory('ordinary');
    chownSync(temp, nobody.uid, nobody.gid);
    // a copy, because the checkout may lie where only root may look
    const copy = join(temporary, 'copy');
    mkdirSync(copy);
    cpSync(join(import.meta.dirname, '..', '..'), join(copy, 'dist'), { recursive: true });
    for (const name of ['package.json', 'node_modules', 'src']) {
      cpSync(join(PROJECT, name), join(copy, name), { recursive: true, dereference: false, verbatimSymlinks: true });
    }
    const main = join(copy, 'dist', 'src', 'main.js');
    const demo = await start(temp, ARGUMENTS, { uid: nobody.uid, gid: nobody.gid, main });
    for (const { pid } of demo.ready.nodes) {
      assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), new RegExp(`^Uid:\\s+${nobody.uid}\\s`, 'm'));
    }
    demo.child.kill('SIGTERM');
    assert.equal((await demo.ended).code, 0);
    assertNothingLeft(temp, demo.ready);
  });
});
