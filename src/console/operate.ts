/** Commands that change something. What they do is what the HTTP API does on request. */
import { FairleadError } from '../core/errors.ts';
import { type Command, nodeNamed, type Operator, type Outcome } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';
import type { Columns } from './table.ts';

const MOVED: Columns = { primary: 'text', epoch: 'int8', took_ms: 'int8' };
const NODE = { name: 'node', required: true } as const;

export const OPERATE_COMMANDS: readonly Command[] = [
  {
    words: ['RELOAD'],
    argument: null,
    help: 'read the configuration again',
    columns: null,
    async run(_argument, console, operator) {
      note(console, operator, 'a reload');
      return done('RELOAD', await console.reload());
    },
  },
  {
    words: ['PAUSE'],
    argument: null,
    help: 'hold all statements that have not begun',
    columns: null,
    run(_argument, console, operator) {
      note(console, operator, 'a pause');
      console.operations.pause();
      return done('PAUSE');
    },
  },
  {
    words: ['RESUME'],
    argument: null,
    help: 'let statements run again',
    columns: null,
    run(_argument, console, operator) {
      note(console, operator, 'the end of the pause');
      console.operations.resume();
      return done('RESUME');
    },
  },
  {
    words: ['SWITCHOVER'],
    argument: { name: 'node', required: false },
    help: 'make another node the primary, losing nothing; answers when it is done',
    columns: MOVED,
    async run(argument, console, operator) {
      const to = argument === null ? undefined : nodeNamed(argument, console);
      note(console, operator, to === undefined ? 'a switchover' : `a switchover to ${to}`);
      return moved('SWITCHOVER', console, await console.operations.switchover(to));
    },
  },
  {
    words: ['FAILOVER'],
    argument: null,
    help: 'promote the best replica although the primary may be alive; may lose what was not replicated',
    columns: MOVED,
    async run(_argument, console, operator) {
      note(console, operator, 'a failover');
      return moved('FAILOVER', console, await console.operations.failover());
    },
  },
  {
    words: ['DRAIN'],
    argument: NODE,
    help: 'keep reads away from a node',
    columns: null,
    run(argument, console, operator) {
      const node = nodeNamed(argument as string, console);
      note(console, operator, `${node} to be drained`);
      console.operations.drain(node);
      return done('DRAIN');
    },
  },
  {
    words: ['UNDRAIN'],
    argument: NODE,
    help: 'let reads go to a node again',
    columns: null,
    run(argument, console, operator) {
      const node = nodeNamed(argument as string, console);
      note(console, operator, `${node} to be used again`);
      console.operations.undrain(node);
      return done('UNDRAIN');
    },
  },
  {
    words: ['KILL_CLIENT'],
    argument: { name: 'id', required: true },
    help: 'end one client; SHOW CLIENTS has its id',
    columns: null,
    run(argument, console, operator) {
      const session = [...console.sessions.all()].find((s) => String(s.client.pid) === argument);
      if (session === undefined) {
        throw new FairleadError('refused', `there is no client ${argument}`, 'SHOW CLIENTS lists them');
      }
      note(console, operator, `client ${argument} to be ended`);
      session.terminate(new FairleadError('shutting_down', 'terminating connection due to administrator command'));
      return done('KILL_CLIENT');
    },
  },
];

function done(tag: string, notices: readonly string[] = []): Outcome {
  return { tag, rows: [], notices };
}

function moved(tag: string, { cluster }: ConsoleDependencies, { tookMs }: { readonly tookMs: number }): Outcome {
  const { primary, epoch } = cluster.topology.value;
  return { tag, rows: [{ primary: primary?.name ?? null, epoch, took_ms: tookMs }], notices: [] };
}

function note({ log }: ConsoleDependencies, { user, address }: Operator, what: string): void {
  log.info({ user, from: address }, `operator asks for ${what}`);
}
