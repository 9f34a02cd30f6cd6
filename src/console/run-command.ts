import { FairleadError } from '../core/errors.ts';
import type { Operator, Outcome } from './command.ts';
import type { Resolved } from './commands.ts';
import type { ConsoleDependencies } from './dependencies.ts';
import { SET_COMMAND } from './set-command.ts';

/** Runs a command of the console, wherever that is. @throws FairleadError */
export type RunCommand = (resolved: Resolved, operator: Operator) => Promise<Outcome>;

/** Runs a command for somebody, on what is known at this moment. @throws FairleadError */
export async function runCommand(
  { command, argument }: Resolved,
  console: ConsoleDependencies,
  operator: Operator,
): Promise<Outcome> {
  const looks = command.words[0] === 'SHOW' || command.help === null || command === SET_COMMAND;
  if (!looks && !operator.mayOperate) throw new FairleadError('not_allowed', 'admin access needed');
  await console.plane.refresh();
  return command.run(argument, console, operator);
}
