import type { Command } from './command.ts';
import { nodeWord, operate } from './remote.ts';

export const undrain: Command = (args, context) =>
  operate(
    args,
    context,
    1,
    (words) => ({ path: `/api/nodes/${encodeURIComponent(nodeWord(words))}/undrain`, body: {} }),
    ({ node, state }) => `${node} is ${state}`,
  );
