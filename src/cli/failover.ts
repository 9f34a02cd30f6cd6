import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';
import { callRemote, REMOTE_OPTIONS, remoteFrom } from './remote.ts';

export const failover: Command = async (args, { print, environment }) => {
  const { values } = parseOptions(args, { ...REMOTE_OPTIONS, 'allow-data-loss': { type: 'boolean' } } as const);
  const body = values['allow-data-loss'] === true ? { allowDataLoss: true } : {};
  const answer = (await callRemote(remoteFrom(values, environment), '/api/failover', body)) as Record<string, unknown>;
  print(values.json ? JSON.stringify(answer) : `${answer.primary} is the primary, epoch ${answer.epoch}`);
  return 0;
};
