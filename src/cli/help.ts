import { describeConfig } from '../config/keys.ts';
import { FairleadError } from '../core/errors.ts';
import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';
import { COMMANDS } from './commands.ts';

export const help: Command = async (args, { print }) => {
  const { words } = parseOptions(args, {}, 1);
  const topic = words[0];
  if (topic === undefined) {
    print('usage: fairlead COMMAND [OPTIONS]\n');
    for (const { name, summary } of COMMANDS) print(`  ${name.padEnd(11)} ${summary}`);
    print('\n`fairlead help COMMAND` shows its options, `fairlead help config` every key of the configuration.');
    return 0;
  }
  if (topic === 'config') {
    print('Keys of the configuration file (YAML). Each can also be set in the environment.\n');
    print(describeConfig().trimEnd());
    return 0;
  }
  const command = COMMANDS.find(({ name }) => name === topic);
  if (command === undefined) throw new FairleadError('bad_arguments', `there is no command ${topic}`);
  print(`usage: fairlead ${command.usage}\n\n${command.summary}`);
  return 0;
};
