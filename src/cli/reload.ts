import type { Command } from './command.ts';
import { operate } from './remote.ts';

export const reload: Command = (args, context) =>
  operate(
    args,
    context,
    0,
    () => ({ path: '/api/reload', body: {} }),
    ({ changes }) => {
      const all = changes as readonly { readonly text: string }[];
      return all.length === 0 ? 'nothing has changed' : all.map(({ text }) => text).join('\n');
    },
  );
