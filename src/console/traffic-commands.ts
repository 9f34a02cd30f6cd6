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
const BY_COMMAND = 'terminating connection due to administrator command';

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
        await until(signal, async () => (await poolsOf(console, database)).every((pool) => pool.total === pool.idle));
      } catch (error) {
        // as PgBouncer does when its operator gives up
        console.operations.withdrawPause(database ?? undefined);
        throw error;
      }
      await console.plane.order({ kind: 'close idle', database });
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
  about('RECONNECT', DATABASE, 'replace server connections as they are given back', async (database, console) => {
    await console.plane.order({ kind: 'reconnect', database });
    return done('RECONNECT');
  }),
  about(
    'WAIT_CLOSE',
    DATABASE,
    'answers when the server connections that RECONNECT or RELOAD replaces are gone',
    async (database, console, { signal }) => {
      await until(signal, async () => (await poolsOf(console, database)).every((pool) => !pool.closing));
      return done('WAIT_CLOSE');
    },
  ),
  about('KILL', DATABASE, 'end all clients and server connections at once, and pause', async (database, console) => {
    console.operations.pause(database ?? undefined);
    await console.plane.order({ kind: 'end clients', database, reason: BY_COMMAND });
    await console.plane.order({ kind: 'cut', database, reason: BY_COMMAND });
    return done('KILL');
  }),
  {
    words: ['KILL_CLIENT'],
    argument: { name: 'id', required: true },
    help: 'end one client; SHOW CLIENTS has its id',
    columns: null,
    async run(argument, console, operator) {
      const client = (await console.plane.clients()).find(({ pid }) => String(pid) === argument);
      if (client === undefined) {
        throw new FairleadError('refused', `there is no client ${argument}`, 'SHOW CLIENTS lists them');
      }
      note(console, operator, `client ${argument} to be ended`);
      await console.plane.order({ kind: 'end client', pid: client.pid, reason: BY_COMMAND });
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

async function poolsOf({ plane }: ConsoleDependencies, database: string | null) {
  return (await plane.pools()).filter((pool) => database === null || pool.database === database);
}

function isPaused({ cluster }: ConsoleDependencies, database: string | null): boolean {
  const { paused, pausedDatabases } = cluster.operator.value;
  return paused || (database !== null && pausedDatabases.has(database));
}

/** @throws FairleadError cancelled */
async function until(signal: AbortSignal, condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    if (signal.aborted) throw new FairleadError('cancelled', 'canceling statement due to user request');
    await sleep(LOOK_MS, signal);
  }
}
