/** `fairlead demo`: a real cluster, Fairlead before it, and what to try with them; nothing of it stays. */
import { join } from 'node:path';
import { configSchema } from '../config/config.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log, LogThreshold } from '../core/log.ts';
import { type EmbeddedCluster, startEmbeddedCluster } from '../embedded/embedded-cluster.ts';
import { freePort, portIsFree } from '../embedded/free-port.ts';
import { migrate } from '../store/migrate.ts';
import { parseOptions, wholeNumber } from './arguments.ts';
import type { Command, Context, ExitCode, RunningApp } from './command.ts';
import { DemoAgents } from './demo-agents.ts';
import { createDemoDatabase, DEMO_DATABASE, type DemoLogins } from './demo-database.ts';
import { DemoLoad } from './demo-load.ts';
import { untilEverythingAnswers } from './demo-ready.ts';
import { programLog } from './program-log.ts';
import { StopRequest } from './stop-request.ts';

const OPTIONS = {
  replicas: { type: 'string', default: '2' },
  port: { type: 'string' },
  'http-port': { type: 'string' },
  'data-dir': { type: 'string' },
  'pg-bin': { type: 'string' },
  load: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  'log-level': { type: 'string' },
} as const;

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'];
/** A proxy that does not come to an end in this time is left to the end of the process. */
const STOP_MS = 5000;

export const demo: Command = async (args, context) => {
  const { values } = parseOptions(args, OPTIONS);
  const replicas = wholeNumber('--replicas', values.replicas, 0, 9);
  const level = values['log-level'] ?? (values.json ? 'info' : 'warn');
  if (!LOG_LEVELS.includes(level)) {
    throw new FairleadError('bad_arguments', `--log-level ${level}: write one of ${LOG_LEVELS.join(', ')}`);
  }
  const log = programLog(level as LogThreshold, process.stderr.isTTY === true || !values.json);
  const port = await choosePort('--port', values.port, 6432, context);
  const httpPort = await choosePort('--http-port', values['http-port'], 8432, context);
  const stop = new StopRequest(() => context.note('stopping and removing everything; a second Ctrl-C insists'));
  const demonstration = new Demonstration(context, log, values.json);
  const running = demonstration.start({
    ...{ replicas, port, httpPort, dataDir: values['data-dir'], pgBin: values['pg-bin'], load: values.load },
  });
  try {
    await Promise.race([running, stop.asked]);
    // asked while still starting: the exit handlers remove whatever there is already
    if (stop.isAsked && !demonstration.isUp) return 0;
    await Promise.race([stop.asked, demonstration.ended]);
    return await demonstration.stop();
  } catch (error) {
    await demonstration.stop();
    throw error;
  } finally {
    stop.dispose();
  }
};

/** A default port that is taken is replaced; one that was asked for is not. @throws FairleadError port_taken */
async function choosePort(option: string, asked: string | undefined, standard: number, context: Context) {
  if (asked !== undefined) {
    const port = wholeNumber(option, asked, 0, 65535);
    // 0: the system chooses when it is opened
    if (port === 0 || (await portIsFree(port))) return port;
    throw new FairleadError('port_taken', `port ${port} is taken`, `choose another ${option}, or stop what has it`);
  }
  if (await portIsFree(standard)) return standard;
  const port = await freePort();
  context.note(`port ${standard} is taken: using ${port} instead (${option} chooses one)`);
  return port;
}

type Wishes = {
  readonly replicas: number;
  readonly port: number;
  readonly httpPort: number;
  readonly dataDir: string | undefined;
  readonly pgBin: string | undefined;
  readonly load: boolean;
};

/** Everything that a demo started, in the order in which it has to be stopped again. */
class Demonstration {
  readonly #context: Context;
  readonly #log: Log;
  readonly #json: boolean;
  readonly #agents = new DemoAgents();
  #cluster: EmbeddedCluster | null = null;
  #app: RunningApp | null = null;
  #load: DemoLoad | null = null;
  #isUp = false;

  constructor(context: Context, log: Log, json: boolean) {
    this.#context = context;
    this.#log = log;
    this.#json = json;
  }

  /** Resolves when the proxy has been ended from its console. */
  get ended(): Promise<void> {
    return this.#app?.done ?? new Promise(() => {});
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  async start(wishes: Wishes): Promise<void> {
    const { replicas, dataDir, pgBin } = wishes;
    const log = this.#log;
    if (!this.#json) this.#context.note(`starting a primary and ${replicas} replica${replicas === 1 ? '' : 's'} …`);
    const cluster = await startEmbeddedCluster({ replicas, dataDir, pgBin, log });
    this.#cluster = cluster;
    const logins = await createDemoDatabase(cluster);
    await this.#agents.start(cluster, log);
    const { token, addresses } = this.#agents;
    const config = configSchema.parse({
      listen: `127.0.0.1:${wishes.port}`,
      http: `127.0.0.1:${wishes.httpPort}`,
      cluster: {
        database: DEMO_DATABASE,
        user: logins.control.user,
        password: logins.control.password,
        nodes: Object.fromEntries(
          cluster.nodes.map(({ name, port }) => [name, { address: `127.0.0.1:${port}`, agent: addresses.get(name) }]),
        ),
      },
      agent: { token },
      failover: { journal_directory: join(cluster.scratch, 'lost') },
      auth: { users: { [logins.app.user]: logins.app.password }, admins: [logins.app.user] },
    });
    await migrate(config, log);
    const app = await this.#context.startApp(config, log);
    this.#app = app;
    const proxy = urlOf(logins.app, app.listen.port);
    const http = `http://127.0.0.1:${app.http.port}`;
    await untilEverythingAnswers(proxy, http, replicas);
    if (wishes.load) {
      this.#load = new DemoLoad(proxy, log);
      await this.#load.start();
    }
    this.#isUp = true;
    this.#announce(cluster, logins, proxy, http);
  }

  /** Stops what runs, whatever state it is in. */
  async stop(): Promise<ExitCode> {
    await this.#load?.stop();
    if (this.#app !== null) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, STOP_MS);
      });
      const stopped = this.#app
        .shutDown('now')
        .catch((error) => this.#log.warn({ error: messageOf(error) }, 'unclean stop'));
      await Promise.race([stopped, late]);
      clearTimeout(timer);
    }
    await this.#agents.stop();
    await this.#cluster?.stop();
    return 0;
  }

  #announce(cluster: EmbeddedCluster, logins: DemoLogins, proxy: string, http: string): void {
    const { print } = this.#context;
    const nodes = cluster.nodes.map((node, index) => ({
      name: node.name,
      role: index === 0 ? 'primary' : 'replica',
      url: urlOf(logins.control, node.port),
      pid: node.pid,
    }));
    if (this.#json) {
      print(JSON.stringify({ ready: true, proxy, http, nodes }));
      return;
    }
    const primary = nodes[0];
    print(`
Fairlead is in front of PostgreSQL ${cluster.version}:
${nodes.map(({ name, role, url, pid }) => `  ${name}  ${role}  ${url}  pid ${pid}`).join('\n')}

  application   psql ${proxy}
  console       psql ${urlOf(logins.app, new URL(proxy).port, 'fairlead')} -c 'SHOW NODES'
  dashboard     ${http}

Try:
  CREATE TABLE t (id int); INSERT INTO t VALUES (1);
  SELECT * FROM t; SHOW fairlead.route;      which node answered, and why
  kill -9 ${primary?.pid}                            end the primary: a replica takes over, sessions stay
  ${program()} status --http ${http}
  ${program()} rejoin ${primary?.name} --http ${http}      bring it back, as a replica

Logs of the servers: ${cluster.nodes[0]?.logFile.replace(/pg1\.log$/, 'pg*.log')}
Ctrl-C stops everything and removes it.`);
  }
}

/** How this program is called: installed as a package, or from a checkout. */
function program(): string {
  return import.meta.url.includes('/node_modules/') ? 'npx fairlead' : 'npm run -s fairlead --';
}

function urlOf(login: { user: string; password: string }, port: number | string, database = DEMO_DATABASE): string {
  return `postgres://${login.user}:${login.password}@127.0.0.1:${port}/${database}`;
}
