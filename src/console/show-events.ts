import { FairleadError } from '../core/errors.ts';
import { show } from './command.ts';

const DEFAULT_LIMIT = 100;

export const SHOW_EVENTS = show({
  name: 'EVENTS',
  help: 'failovers, switchovers and role changes, newest first, with what was lost',
  argument: 'limit',
  columns: {
    time: 'text',
    kind: 'text',
    epoch: 'int8',
    node: 'text',
    message: 'text',
    lost_bytes: 'int8',
    lost_commits: 'int8',
  },
  async rows({ events }, _operator, argument) {
    const limit = argument === null ? DEFAULT_LIMIT : Number(argument);
    if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
      throw new FairleadError('bad_parameter', `not a number of events: ${argument}`, 'write SHOW EVENTS 20');
    }
    return (await events.list(limit)).map((event) => ({
      time: new Date(event.atMs).toISOString().replace('T', ' ').replace('Z', ' UTC'),
      kind: event.kind,
      epoch: event.epoch,
      node: event.node,
      message: event.message,
      lost_bytes: event.lost?.bytes ?? null,
      lost_commits: event.lost?.commits ?? null,
    }));
  },
});
