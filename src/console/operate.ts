/** Commands that move roles and reads, and the reload. What they do is what the HTTP API does on request. */
import { FairleadError } from '../core/errors.ts';
import { type Command, nodeNamed, type Operator, type Outcome } from './command.ts';
import type { ConsoleDependencies } from './dependencies.ts';
import type { Columns } from './table.ts';

const MOVED: Columns = { primary: 'text', epoch: 'int8', took_ms: 'int8' };
const PLANNED: Columns = { step: 'text', meaning: 'text' };
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
    words: ['SWITCHOVER', 'PLAN'],
    argument: { name: 'node', required: false },
    help: 'what SWITCHOVER would do, and wait for; changes nothing',
    columns: PLANNED,
    async run(argument, console) {
      const plan = await console.operations.planSwitchover(wishFor(argument, console));
      if (!plan.possible) throw new FairleadError('refused', plan.reason ?? 'it would be refused');
      const chosen = { step: 'target', meaning: `${plan.to}: ${plan.choice}` };
      const vetoes = plan.vetoes.map(({ node, reason }) => ({ step: 'not', meaning: `${node}: ${reason}` }));
      const steps = plan.steps.map(({ step, text }) => ({ step, meaning: text }));
      return { tag: 'SWITCHOVER PLAN', rows: [chosen, ...vetoes, ...steps], notices: [] };
    },
  },
  {
    words: ['SWITCHOVER', 'CANCEL'],
    argument: null,
    help: 'take back the switchover that is scheduled, or under way and nobody promoted yet',
    columns: null,
    async run(_argument, console, operator) {
      note(console, operator, 'a switchover to be cancelled');
      await console.operations.cancelSwitchover();
      return done('SWITCHOVER CANCEL');
    },
  },
  {
    words: ['SWITCHOVER'],
    argument: { name: 'node', required: false },
    help: 'make another node the primary, losing nothing; answers when it is done',
    columns: MOVED,
    async run(argument, console, operator) {
      const wish = wishFor(argument, console);
      note(console, operator, wish.to === undefined ? 'a switchover' : `a switchover to ${wish.to}`);
      return moved('SWITCHOVER', console, await console.operations.switchover(wish));
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

function wishFor(argument: string | null, console: ConsoleDependencies): { readonly to?: string } {
  return argument === null ? {} : { to: nodeNamed(argument, console) };
}

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
