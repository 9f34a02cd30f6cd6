import { readFileSync } from 'node:fs';
import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';

export const version: Command = async (args, { print }) => {
  parseOptions(args, {});
  // beside dist, in the checkout and in the package alike
  const file = new URL('../../../package.json', import.meta.url);
  print((JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version);
  return 0;
};
