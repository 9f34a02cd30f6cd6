/** PgBouncer's commands about traffic: hold it, end it, renew its connections. */
import { FairleadError } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import type { Command, Operator, Outcome } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';
import { done, note } from './operate.ts';
import { databaseNames } from './show-databases.ts';

const DATABASE = { name: 'database', required: false } as const;
const ONE_DATABASE = { name: 'database', required: true } as const;
/** How often something that is waited for is looked at. */
const LOOK_MS = 10;

type Run = (database: string | null, console: ConsoleDependencies, operator: Operator) => Outcome | Promise<Outcome>;

function about(word: string, argument: Command['argument'], help: string, run: Run): Command {
  return {
    words: [word],
    argument,
    help,
    columns: null,
    async run(database, console, operator) {
      if (database !== null && (database === 'fairlead' || database === 'pgbouncer')) {
        throw new FairleadError('refused', `${database} is the admin console`, 'name another database');
      }
      const known = database === null || databaseNames(console).includes(database);
      note(console, operator, database === null ? word : `${word} ${database}`);
      const outcome = await run(database, console, operator);
      return known ? outcome : { ...outcome, notices: [...outcome.notices, `nobody uses database ${database}`] };
    },
  };
}

export const TRAFFIC_COMMANDS: readonly Command[] = [
  about(
    'PAUSE',
    DATABASE,
    'hold statements that have not begun; answers when no server connection is in use any more, and all are closed',
    async (database, console, { signal }) => {
      if (isPaused(console, database)) throw new FairleadError('refused', 'already suspended/paused', 'RESUME ends it');
      console.operations.pause(database ?? undefined);
      try {
        await until(signal, () => poolsOf(console, database).every((pool) => pool.totalCount === pool.idleCount));
      } catch (error) {
        // as PgBouncer does when its operator gives up
        console.operations.withdrawPause(database ?? undefined);
        throw error;
      }
      for (const pool of poolsOf(console, database)) pool.closeIdle();
      return done('PAUSE');
    },
  ),
  about('RESUME', DATABASE, 'let statements run again', (database, console) => {
    const { paused, pausedDatabases } = console.cluster.operator.value;
    if (database === null && !paused && pausedDatabases.size === 0) {
      throw new FairleadError('refused', 'pooler is not paused/suspended', 'SHOW STATE tells');
    }
    if (database !== null && !pausedDatabases.has(database)) {
      throw new FairleadError('refused', `database ${database} is not paused`, 'SHOW DATABASES tells');
    }
    console.operations.resume(database ?? undefined);
    return done('RESUME');
  }),
  about('DISABLE', ONE_DATABASE, 'take no new clients for a database', (database, console) => {
    console.operations.allow(database as string, false);
    return done('DISABLE');
  }),
  about('ENABLE', ONE_DATABASE, 'take new clients for a database again', (database, console) => {
    console.operations.allow(database as string, true);
    return done('ENABLE');
  }),
  about('RECONNECT', DATABASE, 'replace server connections as they are given back', (database, console) => {
    for (const pool of poolsOf(console, database)) pool.reconnect();
    return done('RECONNECT');
  }),
  about(
    'WAIT_CLOSE',
    DATABASE,
    'answers when the server connections that RECONNECT or RELOAD replaces are gone',
    async (database, console, { signal }) => {
      await until(signal, () => poolsOf(console, database).every((pool) => !pool.closing));
      return done('WAIT_CLOSE');
    },
  ),
  about('KILL', DATABASE, 'end all clients and server connections at once, and pause', (database, console) => {
    console.operations.pause(database ?? undefined);
    const reason = 'terminating connection due to administrator command';
    const error = new FairleadError('shutting_down', reason);
    console.sessions.endAll((client) => database === null || client.database === database, error);
    for (const pool of poolsOf(console, database)) pool.cut(reason);
    return done('KILL');
  }),
  {
    words: ['KILL_CLIENT'],
    argument: { name: 'id', required: true },
    help: 'end one client; SHOW CLIENTS has its id',
    columns: null,
    run(argument, console, operator) {
      const session = [...console.sessions.all()].find((s) => String(s.client.pid) === argument);
      const other = [...console.consoles.all()].find((c) => String(c.client.key.pid) === argument);
      if (session === undefined && other === undefined) {
        throw new FairleadError('refused', `there is no client ${argument}`, 'SHOW CLIENTS lists them');
      }
      note(console, operator, `client ${argument} to be ended`);
      session?.terminate(new FairleadError('shutting_down', 'terminating connection due to administrator command'));
      other?.close();
      return done('KILL_CLIENT');
    },
  },
  {
    words: ['SHUTDOWN'],
    argument: { name: 'WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS', required: false },
    help: 'stop: now, after the transactions that are open (as SIGTERM), or when all clients have left (as SIGINT)',
    columns: null,
    run(argument, console, operator) {
      const mode = SHUTDOWN[argument?.toUpperCase() ?? ''];
      if (mode === undefined) {
        const remedy = 'write SHUTDOWN, SHUTDOWN WAIT_FOR_SERVERS or SHUTDOWN WAIT_FOR_CLIENTS';
        throw new FairleadError('unknown_command', `syntax error at or near "${argument}"`, remedy);
      }
      note(console, operator, `the end of Fairlead: ${mode}`);
      // whoever asked shall still be answered
      setImmediate(() => console.shutDown(mode));
      return done('SHUTDOWN');
    },
  },
];

const SHUTDOWN: Readonly<Record<string, 'now' | 'drain' | 'wait'>> = {
  '': 'now',
  WAIT_FOR_SERVERS: 'drain',
  WAIT_FOR_CLIENTS: 'wait',
};

function poolsOf({ pools }: ConsoleDependencies, database: string | null) {
  return [...pools.all()].filter((pool) => database === null || pool.key.database === database);
}

function isPaused({ cluster }: ConsoleDependencies, database: string | null): boolean {
  const { paused, pausedDatabases } = cluster.operator.value;
  return paused || (database !== null && pausedDatabases.has(database));
}

/** @throws FairleadError cancelled */
async function until(signal: AbortSignal, condition: () => boolean): Promise<void> {
  while (!condition()) {
    if (signal.aborted) throw new FairleadError('cancelled', 'canceling statement due to user request');
    await sleep(LOOK_MS, signal);
  }
}
