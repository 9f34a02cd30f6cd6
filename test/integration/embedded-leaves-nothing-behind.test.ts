import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { processesOf } from '../../src/embedded/postgres-processes.ts';
import { usesDocker } from '../support/cluster.ts';
import { until } from '../support/wait.ts';

const SKIP = usesDocker() ? 'this machine cannot: containers are not embedded servers' : false;

/** Starts a cluster in its own process, says where it is, and then does what its argument says. */
const PROGRAM = `
import { startEmbeddedCluster } from ${JSON.stringify(new URL('../../src/embedded/embedded-cluster.js', import.meta.url).href)};
const cluster = await startEmbeddedCluster({ replicas: 1, durable: false });
console.log(JSON.stringify(cluster.nodes.map((node) => node.directory)));
if (process.argv[1] === 'throw') throw new Error('on purpose');
if (process.argv[1] === 'freeze') for (const node of cluster.nodes) node.freeze();
if (process.argv[1] !== 'end') setInterval(() => {}, 1000);
`;

describe('an embedded cluster leaves nothing behind', { skip: SKIP }, () => {
  let temporary: string;
  const running = new Set<ChildProcess>();
  before(() => {
    temporary = mkdtempSync(join(tmpdir(), 'leaves-nothing-'));
    // the servers' unprivileged user has to pass through
    chmodSync(temporary, 0o711);
  });
  after(() => {
    for (const child of running) child.kill('SIGKILL');
    rmSync(temporary, { recursive: true, force: true });
  });

  async function start(mode: string): Promise<{ child: ChildProcess; directories: string[] }> {
    const env = { ...process.env, TMPDIR: temporary, NODE_TEST_CONTEXT: '' };
    const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, mode], {
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    running.add(child);
    child.once('exit', () => running.delete(child));
    const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
    return { child, directories: JSON.parse(line.toString()) as string[] };
  }
  const ended = (child: ChildProcess) => ((child.exitCode ?? child.signalCode) === null ? once(child, 'exit') : null);
  function assertNothingLeft(directories: readonly string[]): void {
    for (const directory of directories) {
      assert.deepEqual(processesOf(directory), []);
      assert.ok(!existsSync(directory));
    }
    assert.deepEqual(readdirSync(temporary), []);
  }

  for (const mode of ['end', 'throw']) {
    it(`when the program ${mode === 'end' ? 'just ends' : 'throws'}`, async () => {
      const { child, directories } = await start(mode);
      await ended(child);
      assertNothingLeft(directories);
    });
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    it(`after ${signal}`, async () => {
      const { child, directories } = await start('wait');
      child.kill(signal);
      await ended(child);
      assertNothingLeft(directories);
    });
  }

  it('after SIGTERM with servers that are frozen', async () => {
    const { child, directories } = await start('freeze');
    await until(() => directories.every((directory) => processesOf(directory).length > 0), { what: 'the servers' });
    child.kill('SIGTERM');
    await ended(child);
    assertNothingLeft(directories);
  });

  it('after SIGKILL the next run removes servers and directories', async () => {
    const crashed = await start('wait');
    crashed.child.kill('SIGKILL');
    await ended(crashed.child);
    const next = await start('end');
    await ended(next.child);
    assertNothingLeft([...crashed.directories, ...next.directories]);
  });
});
