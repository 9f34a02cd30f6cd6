import type { Command } from './command.ts';
import { operate } from './remote.ts';

export const resume: Command = (args, context) =>
  operate(
    args,
    context,
    0,
    () => ({ path: '/api/resume', body: {} }),
    () => 'resumed',
  );
