/** Fairlead as a process of its own: its memory can be measured, and what it writes to stderr is all that it says. */
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ConfigInput } from '../../src/config/config.ts';
import { TEST_WORKERS } from './fairlead.ts';
import type { TestCluster } from './test-cluster.ts';
import { until } from './wait.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.js');

export type FairleadProcess = {
  readonly pid: number;
  /** Through the proxy, as the cluster's superuser. */
  readonly url: string;
  readonly http: string;
  /** Resident memory in bytes. */
  memory(): Promise<number>;
  /** Lines on stderr that are none of its log: uncaught errors, warnings of Node. */
  complaints(): string[];
  /** SIGKILL: nothing is put in order. */
  kill9(): Promise<void>;
  /** @returns the exit code, or null when a signal ended it */
  stop(): Promise<number | null>;
};

/** @throws Error with its stderr when it ends instead of becoming ready */
export async function startFairleadProcess(
  cluster: TestCluster,
  config: Partial<Omit<ConfigInput, 'cluster'>> = {},
  servers: Partial<ConfigInput['cluster']> = {},
): Promise<FairleadProcess> {
  const { superuser, password } = cluster;
  const directory = await mkdtemp(join(tmpdir(), 'fairlead-test-'));
  const file = join(directory, 'fairlead.yaml');
  const nodes = Object.fromEntries(cluster.nodes.map((node) => [node.name, `${node.host}:${node.port}`]));
  const whole: ConfigInput = {
    listen: '127.0.0.1:0',
    http: '127.0.0.1:0',
    workers: TEST_WORKERS,
    auth: { users: { [superuser]: password } },
    ...config,
    failover: { journal_directory: directory, ...config.failover },
    cluster: { user: superuser, password, nodes, ...servers },
  };
  // JSON is YAML
  await writeFile(file, JSON.stringify(whole));
  const child = spawn(process.execPath, [MAIN, 'start', '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    stderr += text;
    if (process.env.FAIRLEAD_TEST_LOG) process.stderr.write(text);
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    const code = await ended;
    await rm(directory, { recursive: true, force: true });
    return code;
  };
  const stop = () => end('SIGTERM');
  type Ready = { msg: string; listen: { host: string; port: number }; http: { host: string; port: number } };
  try {
    const line = await until(
      () => {
        if (child.exitCode !== null) throw new Error(stderr);
        return stderr.split('\n').find((text) => text.includes('"msg":"ready"'));
      },
      { what: 'fairlead to be ready', timeoutMs: 60_000 },
    );
    const { listen, http } = JSON.parse(line) as Ready;
    return {
      pid: child.pid as number,
      url: `postgres://${superuser}:${password}@${listen.host}:${listen.port}/postgres`,
      http: `http://${http.host}:${http.port}`,
      memory: async () => {
        const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(child.pid)]);
        return Number(stdout) * 1024;
      },
      complaints: () => {
        const said = stderr.split('\n').filter((text) => text !== '' && !text.startsWith('{'));
        return child.exitCode === null ? said : [...said, `it ended with code ${child.exitCode}`];
      },
      kill9: async () => void (await end('SIGKILL')),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
