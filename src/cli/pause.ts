import type { Command } from './command.ts';
import { operate } from './remote.ts';

export const pause: Command = (args, context) =>
  operate(
    args,
    context,
    0,
    () => ({ path: '/api/pause', body: {} }),
    () => 'paused: statements are held until `fairlead resume`',
  );
