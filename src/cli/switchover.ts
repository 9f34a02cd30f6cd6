import { parseTimeMs } from '../config/units.ts';
import { FairleadError } from '../core/errors.ts';
import type { SwitchoverPlan } from '../failover/plan-switchover.ts';
import { parseOptions } from './arguments.ts';
import type { Command, ExitCode } from './command.ts';
import { callRemote, REMOTE_OPTIONS, remoteFrom } from './remote.ts';

const OPTIONS = {
  ...REMOTE_OPTIONS,
  to: { type: 'string' },
  wait: { type: 'string' },
  plan: { type: 'boolean' },
  at: { type: 'string' },
  in: { type: 'string' },
  cancel: { type: 'boolean' },
} as const;

type Scheduled = { readonly at: number; readonly to: string | null };
type Answer = {
  readonly primary?: string;
  readonly epoch?: number;
  readonly plan?: SwitchoverPlan;
  readonly scheduled?: Scheduled;
  readonly cancelled?: { readonly scheduled: Scheduled | null; readonly underWay: boolean };
};

export const switchover: Command = async (args, { print, note, environment }) => {
  const { values } = parseOptions(args, OPTIONS);
  const chosen = [values.plan, values.at, values.in, values.cancel].filter((value) => value !== undefined);
  if (chosen.length > 1) throw new FairleadError('bad_arguments', 'choose one of --plan, --at, --in and --cancel');
  const { to, plan, at, cancel } = values;
  const wait = time('--wait', values.wait);
  const after = time('--in', values.in);
  const body = { to, plan, cancel, wait, in: after, at: at === undefined ? undefined : instant(at) };
  const answer = (await callRemote(remoteFrom(values, environment), '/api/switchover', body)) as Answer;
  if (values.json) {
    print(JSON.stringify(answer));
    return answer.plan?.possible === false ? 1 : 0;
  }
  if (answer.plan !== undefined) return show(answer.plan, print, note);
  if (answer.scheduled !== undefined) print(`scheduled for ${inWords(answer.scheduled)}`);
  else if (answer.cancelled !== undefined) {
    const { scheduled, underWay } = answer.cancelled;
    if (scheduled !== null) print(`cancelled: the one of ${inWords(scheduled)}`);
    if (underWay) print(`cancelled: ${answer.primary} takes writes again`);
  } else print(`${answer.primary} is the primary, epoch ${answer.epoch}`);
  return 0;
};

function show(plan: SwitchoverPlan, print: (line: string) => void, note: (line: string) => void): ExitCode {
  const { possible, reason, from, to, choice, vetoes, pause, steps } = plan;
  if (to !== null) print(`${from} hands over to ${to}: ${choice}`);
  for (const veto of vetoes) print(`  not ${veto.node}: ${veto.reason}`);
  steps.forEach(({ step, text }, index) => {
    print(`${String(index + 1).padStart(2)}. ${step}: ${text}`);
  });
  if (pause !== null) {
    const most = pause.mostMs > pause.leastMs ? `, with transactions that last up to ${pause.mostMs} ms` : '';
    print(`writes are held for about ${pause.leastMs} ms${most}`);
  }
  if (possible) print('nothing was changed');
  else note(`it would be refused: ${reason}`);
  return possible ? 0 : 1;
}

/** Milliseconds of an option. @throws FairleadError bad_arguments */
function time(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseTimeMs(text);
  if (ms === null) throw new FairleadError('bad_arguments', `${option} ${text}: write 500ms, 10s or 5min`);
  return ms;
}

/** Without an offset it is local time. @throws FairleadError bad_arguments */
function instant(text: string): string {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new FairleadError('bad_arguments', `--at ${text}: write 2026-12-01T03:00Z`);
  return new Date(ms).toISOString();
}

function inWords({ at, to }: Scheduled): string {
  return `${new Date(at).toISOString()}${to === null ? '' : `, to ${to}`}`;
}
