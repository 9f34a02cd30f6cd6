/** Commands that move roles and reads, and the reload. What they do is what the HTTP API does on request. */
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
      const changes = await console.reload();
      return done('RELOAD', changes.length === 0 ? ['nothing has changed'] : changes.map((change) => change.text));
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
    argument: { name: 'ALLOW_DATA_LOSS', required: false },
    help: 'promote the best replica although the primary may be alive; with ALLOW_DATA_LOSS also one that may lack commits promised to be safe',
    columns: MOVED,
    async run(argument, console, operator) {
      const allowed = argument?.toUpperCase() === 'ALLOW_DATA_LOSS';
      if (argument !== null && !allowed) {
        throw new FairleadError(
          'bad_parameter',
          `not known: ${argument}`,
          'write FAILOVER or FAILOVER ALLOW_DATA_LOSS',
        );
      }
      note(console, operator, allowed ? 'a failover, and allows data loss' : 'a failover');
      return moved('FAILOVER', console, await console.operations.failover(allowed));
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
];

export function done(tag: string, notices: readonly string[] = []): Outcome {
  return { tag, rows: [], notices };
}

function moved(tag: string, { cluster }: ConsoleDependencies, { tookMs }: { readonly tookMs: number }): Outcome {
  const { primary, epoch } = cluster.topology.value;
  return { tag, rows: [{ primary: primary?.name ?? null, epoch, took_ms: tookMs }], notices: [] };
}

/** Whatever changes something is logged, with who asked. */
export function note({ log }: ConsoleDependencies, { user, address }: Operator, what: string): void {
  log.info({ user, from: address }, `operator asks for ${what}`);
}
