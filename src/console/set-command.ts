import { FairleadError } from '../core/errors.ts';
import type { Command } from './command.ts';
import { done, note } from './operate.ts';

/** `pool.size = 30`, `pool.size TO 30`; quotes are gone by now. */
const ASSIGNMENT = /^(\S+?)\s*(?:=|\s+to\s+)\s*(.*)$/is;
/** Sections of the configuration, and PgBouncer's settings by their names. Whatever else is set is what drivers set by themselves. */
const OURS = /^(listen|workers|http|cluster|routing|pool|databases|users|failover|auth|log|shutdown_timeout)(\.|$)/i;

export const SET_COMMAND: Command = {
  words: ['SET'],
  argument: { name: 'key = value', required: true },
  takesRest: true,
  help: 'change a key of the configuration until the next RELOAD or restart; other settings are accepted and do nothing',
  columns: null,
  run(argument, console, operator) {
    const match = ASSIGNMENT.exec(argument ?? '');
    const key = match?.[1] ?? '';
    if (match === null || (!OURS.test(key) && !console.isSetting(key))) return done('SET');
    if (!operator.mayOperate) throw new FairleadError('not_allowed', 'admin access needed');
    const changes = console.set(key, match[2] as string);
    // its value may be a secret; what may be told of it is in the log of the change
    note(console, operator, `a new value for ${key}`);
    return done('SET', changes.length === 0 ? ['nothing has changed'] : changes.map((change) => change.text));
  },
};
