import { readFileSync } from 'node:fs';
import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';

export const version: Command = async (args, { print }) => {
  parseOptions(args, {});
  print(programVersion());
  return 0;
};

export function programVersion(): string {
  // beside dist, in the checkout and in the package alike
  const file = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
