import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ConfigInput } from '../../src/config/config.ts';
import { freePort } from '../../src/embedded/free-port.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Ended, runCommandLine } from '../support/command-line.ts';
import { Connection, closeAll } from '../support/connection.ts';
import { startFairlead } from '../support/fairlead.ts';
import { until } from '../support/wait.ts';

describe('whoever does something wrong reads one line that says what to do', () => {
  let cluster: TestCluster;
  let directory: string;
  let taken: Server;
  let takenPort: number;

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    await cluster.node('pg1').query("CREATE ROLE weak LOGIN PASSWORD 'weak'");
    directory = await mkdtemp(join(tmpdir(), 'fairlead-errors-'));
    taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    takenPort = (taken.address() as { port: number }).port;
  });
  after(async () => {
    taken?.close();
    await rm(directory, { recursive: true, force: true });
    await cluster?.stop();
  });

  function config(changes: { cluster?: Partial<ConfigInput['cluster']>; listen?: string; http?: string } = {}): object {
    const { superuser: user, password } = cluster;
    const nodes = Object.fromEntries(cluster.nodes.map(({ name, host, port }) => [name, `${host}:${port}`]));
    const base = { listen: '127.0.0.1:0', http: '127.0.0.1:0', auth: { users: { [user]: password } } };
    return { ...base, ...changes, cluster: { user, password, nodes, ...changes.cluster } };
  }
  /** @param content YAML, or what becomes it */
  async function fairlead(command: string, content: object | string): Promise<Ended> {
    const file = join(directory, 'fairlead.yaml');
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
    return runCommandLine([command, '-c', file]);
  }
  function assertOneLine({ code, stdout, stderr }: Ended, expected: number, pattern: RegExp): void {
    assert.equal(code, expected, stderr);
    assert.equal(stdout, '');
    const lines = stderr.trimEnd().split('\n');
    const said = lines.filter((line) => !line.startsWith('{'));
    assert.equal(said.length, 1, stderr);
    assert.match(said[0] as string, pattern);
    assert.doesNotMatch(stderr, /^ +at /m);
  }
  function assertFinding({ code, stdout, stderr }: Ended, problem: RegExp, fix: RegExp): void {
    assert.equal(code, 1, stdout + stderr);
    assert.equal(stderr, '');
    const lines = stdout.split('\n');
    const index = lines.findIndex((line) => line.startsWith('ERROR') && problem.test(line));
    assert.ok(index >= 0, stdout);
    assert.match(lines[index + 1] as string, fix, stdout);
    assert.doesNotMatch(stdout, /^ +at /m);
  }

  describe('on the command line', () => {
    const wrong: [string, string | (() => object), RegExp][] = [
      ['a key that does not exist', 'cluster: {user: u, nodes: {a: "h:1"}}\nrooting: {}', /rooting.*routing/],
      ['a time that is none', 'cluster: {user: u, nodes: {a: "h:1"}}\nfailover: {timeout: soon}', /timeout.*soon.*10s/],
      ['what is not YAML', 'cluster: [', /fairlead\.yaml/],
      [
        'a secret that is not set',
        'cluster: {user: u, password: "${NOT_SET_ANYWHERE}", nodes: {a: "h:1"}}',
        /NOT_SET_ANYWHERE/,
      ],
      ['no node', 'cluster: {user: u}', /cluster\.nodes/],
      [
        'a taken port',
        () => config({ listen: `127.0.0.1:${takenPort}` }),
        /port.*taken; stop the program.*choose another/,
      ],
      [
        'a taken port for the API',
        () => config({ http: `127.0.0.1:${takenPort}` }),
        /port.*taken; stop the program.*choose another/,
      ],
    ];
    for (const [what, content, pattern] of wrong) {
      it(`${what}: exit 2`, async () => {
        assertOneLine(await fairlead('start', typeof content === 'string' ? content : content()), 2, pattern);
      });
    }

    it('a file that is not there, a command or an option that does not exist: exit 2', async () => {
      assertOneLine(await runCommandLine(['start', '-c', join(directory, 'no.yaml')]), 2, /no\.yaml/);
      assertOneLine(await runCommandLine(['stert']), 2, /stert.*did you mean start/);
      assertOneLine(await runCommandLine(['start', '--lissen', '1']), 2, /--lissen/);
      assertOneLine(await runCommandLine(['start']), 2, /-c FILE/);
    });

    it('a running Fairlead that does not answer: exit 1', async () => {
      const nobody = `http://127.0.0.1:${await freePort()}`;
      assertOneLine(await runCommandLine(['status', '--http', nobody]), 1, new RegExp(nobody));
    });
  });

  describe('in fairlead check', () => {
    it('nothing wrong: exit 0', async () => {
      const { code, stdout } = await fairlead('check', config());
      assert.equal(code, 0, stdout);
      assert.match(stdout, /would run/);
    });

    it('an unreachable node', async () => {
      const nodes = { pg1: `127.0.0.1:${cluster.node('pg1').port}`, pg9: `127.0.0.1:${await freePort()}` };
      assertFinding(await fairlead('check', config({ cluster: { nodes } })), /pg9: .*does not answer/, /fix: start it/);
    });

    it('a wrong password', async () => {
      const wrong = config({ cluster: { password: 'wrong' } });
      assertFinding(await fairlead('check', wrong), /pg1: .*password authentication failed/, /fix: .*PASSWORD/);
    });

    it('missing privileges, with the statement that grants each', async () => {
      const answer = await fairlead('check', config({ cluster: { user: 'weak', password: 'weak' } }));
      assertFinding(answer, /replicate/, /fix: ALTER ROLE "weak" REPLICATION/);
      assertFinding(answer, /promote/, /fix: GRANT EXECUTE ON FUNCTION pg_promote/);
      // every one of the fixes is a statement that runs
      const fixes = answer.stdout.matchAll(/fix: ((?:GRANT|ALTER ROLE) [^;\n]*"weak"[^;\n]*)/g);
      let granted = 0;
      for (const [, statement] of fixes) {
        await cluster.node('pg1').query(statement as string);
        granted++;
      }
      assert.ok(granted >= 4);
      const after = async () => (await fairlead('check', config({ cluster: { user: 'weak', password: 'weak' } }))).code;
      await until(async () => (await after()) === 0, {
        what: 'a role that may do all',
        everyMs: 200,
        timeoutMs: 60_000,
      });
    });
  });

  describe('as a client', () => {
    it('a wrong password and an unknown user get the same answer', async () => {
      const proxy = await startFairlead(cluster);
      try {
        const { host, port } = proxy.app.listen;
        const refusal = (login: string) =>
          Connection.open(`postgres://${login}@${host}:${port}/postgres`).then(
            () => assert.fail('let in'),
            (error: Error & { code: string; severity: string }) => error,
          );
        const wrong = await refusal(`${cluster.superuser}:wrong`);
        const unknown = await refusal('nobody:wrong');
        for (const error of [wrong, unknown]) {
          assert.equal(error.code, '28P01');
          assert.equal(error.severity, 'FATAL');
        }
        assert.equal(wrong.message.replace(cluster.superuser, 'USER'), unknown.message.replace('nobody', 'USER'));
      } finally {
        await proxy.stop();
      }
    });

    it('one client too many: 53300', async () => {
      const proxy = await startFairlead(cluster, { config: { pool: { max_clients: 2 } } });
      const open: Connection[] = [];
      try {
        for (let n = 0; n < 2; n++) open.push(await Connection.open(proxy.url));
        await assert.rejects(Connection.open(proxy.url), { code: '53300', severity: 'FATAL' });
        await open.pop()?.close();
        open.push(await until(() => Connection.open(proxy.url), { what: 'room for another' }));
        assert.equal((await (open[1] as Connection).row('SELECT 1 AS one')).one, 1);
      } finally {
        await closeAll(open);
        await proxy.stop();
      }
    });

    it('no primary within failover.hold: 57P03', async () => {
      const failover = { mode: 'manual', timeout: '500ms', hold: '1s' } as const;
      const proxy = await startFairlead(cluster, { config: { failover } });
      const open: Connection[] = [];
      try {
        const connection = await Connection.open(proxy.url);
        open.push(connection);
        await connection.rows('CREATE TABLE t (id int)');
        // not kill -9 of the postmaster: its orphans may still answer for a moment
        await cluster.node('pg1').stop('immediate');
        const startedMs = performance.now();
        await assert.rejects(connection.rows('INSERT INTO t VALUES (1)'), (error: { code: string; hint: string }) => {
          assert.equal(error.code, '57P03');
          assert.match(error.hint, /SHOW NODES/);
          return true;
        });
        const heldMs = performance.now() - startedMs;
        assert.ok(heldMs >= 900 && heldMs < 20_000, `held for ${heldMs} ms`);
        await connection.rows("SET fairlead.consistency = 'eventual'");
        await connection.rows('SELECT 1');
        await cluster.node('pg1').start();
        await until(() => connection.rows('INSERT INTO t VALUES (1)'), { what: 'the primary again' });
        assert.equal(connection.lost, null);
      } finally {
        await closeAll(open);
        await proxy.stop();
      }
    });
  });
});
