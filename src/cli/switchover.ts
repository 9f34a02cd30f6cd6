import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';
import { callRemote, REMOTE_OPTIONS, remoteFrom } from './remote.ts';

export const switchover: Command = async (args, { print, environment }) => {
  const { values } = parseOptions(args, { ...REMOTE_OPTIONS, to: { type: 'string' } } as const);
  const body = values.to === undefined ? {} : { to: values.to };
  const answer = (await callRemote(remoteFrom(values, environment), '/api/switchover', body)) as Record<
    string,
    unknown
  >;
  print(values.json ? JSON.stringify(answer) : `${answer.primary} is the primary, epoch ${answer.epoch}`);
  return 0;
};
