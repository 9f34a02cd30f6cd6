import type { Command } from './command.ts';
import { operate } from './remote.ts';

export const failover: Command = (args, context) =>
  operate(
    args,
    context,
    0,
    () => ({ path: '/api/failover', body: {} }),
    ({ primary, epoch }) => `${primary} is the primary, epoch ${epoch}`,
  );
