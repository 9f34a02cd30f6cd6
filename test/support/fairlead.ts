/** Fairlead itself, in the test's own process, before a test cluster. */
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type App, startApp } from '../../src/app.ts';
import { type Config, type ConfigInput, configSchema } from '../../src/config/config.ts';
import { type Log, SILENT } from '../../src/core/log.ts';
import type { TestCluster } from './test-cluster.ts';

/** FAIRLEAD_TEST_WORKERS=2 runs whatever says nothing else with two workers; tests whose pools have one connection cannot pass then. */
export const TEST_WORKERS = Number(process.env.FAIRLEAD_TEST_WORKERS ?? 1);

/** Where this process has lost transactions written to. */
const JOURNALS = join(tmpdir(), `fairlead-test-journals-${process.pid}`);
process.once('exit', () => rmSync(JOURNALS, { recursive: true, force: true }));

type Sections = Omit<ConfigInput, 'cluster' | 'auth'>;

export type TestFairleadOptions = {
  /** Sections of the configuration that differ from the defaults. */
  readonly config?: Partial<Sections>;
  readonly cluster?: Partial<ConfigInput['cluster']>;
  readonly auth?: ConfigInput['auth'];
  readonly log?: Log;
};

export type TestFairlead = {
  readonly app: App;
  /** Through the proxy, as the cluster's superuser. */
  readonly url: string;
  /** Base of the HTTP API, without a slash at the end. */
  readonly http: string;
  stop(): Promise<void>;
};

/** A configuration for this cluster, on ports of the system's choice, with the cluster's superuser as the only user. */
export function configFor(cluster: TestCluster, options: TestFairleadOptions = {}): Config {
  const { superuser, password } = cluster;
  return configSchema.parse({
    listen: '127.0.0.1:0',
    http: '127.0.0.1:0',
    workers: TEST_WORKERS,
    ...options.config,
    failover: { journal_directory: JOURNALS, ...options.config?.failover },
    auth: options.auth ?? { users: { [superuser]: password } },
    cluster: {
      user: superuser,
      password,
      nodes: Object.fromEntries(cluster.nodes.map((node) => [node.name, `${node.host}:${node.port}`])),
      ...options.cluster,
    },
  });
}

/** FAIRLEAD_TEST_LOG=1 prints what it logs to stderr. */
export async function startFairlead(cluster: TestCluster, options: TestFairleadOptions = {}): Promise<TestFairlead> {
  const log = options.log ?? (process.env.FAIRLEAD_TEST_LOG ? stderrLog : SILENT);
  return running(cluster, await startApp(configFor(cluster, options), log));
}

/** One whose configuration is read anew at a reload. */
export async function startReloadable(cluster: TestCluster, read: () => Config): Promise<TestFairlead> {
  return running(cluster, await startApp(read(), SILENT, read));
}

function running(cluster: TestCluster, app: App): TestFairlead {
  return {
    app,
    url: `postgres://${cluster.superuser}:${cluster.password}@${app.listen.host}:${app.listen.port}/postgres`,
    http: `http://${app.http.host}:${app.http.port}`,
    stop: () => app.stop(),
  };
}

function line(level: string): (fields: object, message: string) => void {
  return (fields, message) => {
    const values = JSON.stringify(fields, (_, value) => (typeof value === 'bigint' ? String(value) : value));
    process.stderr.write(`${(performance.now() / 1000).toFixed(3)} ${level} ${message} ${values}\n`);
  };
}

const stderrLog: Log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
