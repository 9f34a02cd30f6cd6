import type { Command } from './command.ts';
import { nodeWord, operate } from './remote.ts';

export const drain: Command = (args, context) =>
  operate(
    args,
    context,
    1,
    (words) => ({ path: `/api/nodes/${encodeURIComponent(nodeWord(words))}/drain`, body: {} }),
    ({ node, state }) => `${node} is ${state}`,
  );
