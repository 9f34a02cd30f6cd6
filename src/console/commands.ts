/** Every command of the console. What is not in the table does not exist, and the help is printed from it. */
import { FairleadError } from '../core/errors.ts';
import { type Command, show } from './command.ts';
import { DRIVER_COMMANDS } from './driver-commands.ts';
import { OPERATE_COMMANDS } from './operate.ts';
import { SET_COMMAND } from './set-command.ts';
import { ABSENT_COMMANDS } from './show-absent.ts';
import { SHOW_AUDIT } from './show-audit.ts';
import { SHOW_CLIENTS } from './show-clients.ts';
import { SHOW_CONFIG } from './show-config.ts';
import { SHOW_DATABASES } from './show-databases.ts';
import { SHOW_EVENTS } from './show-events.ts';
import { SHOW_FRESHNESS } from './show-freshness.ts';
import { SHOW_LAG } from './show-lag.ts';
import { SHOW_LISTS } from './show-lists.ts';
import { SHOW_MEM } from './show-mem.ts';
import { SHOW_NODES } from './show-nodes.ts';
import { SHOW_POOLS } from './show-pools.ts';
import { SHOW_SERVERS } from './show-servers.ts';
import { SOCKET_COMMANDS } from './show-sockets.ts';
import { SHOW_STATE } from './show-state.ts';
import { STATS_COMMANDS } from './show-stats.ts';
import { SHOW_SYNC } from './show-sync.ts';
import { SHOW_TRAFFIC } from './show-traffic.ts';
import { SHOW_USERS } from './show-users.ts';
import { SHOW_WORKERS } from './show-workers.ts';
import type { Statement } from './statement.ts';
import { TRAFFIC_COMMANDS } from './traffic-commands.ts';

const SHOW_VERSION = show({
  name: 'VERSION',
  help: 'version of this program',
  columns: { version: 'text' },
  // programs look for the number behind PgBouncer's name: the one whose tables these are
  rows: ({ version }, { asPgbouncer }) => [
    { version: asPgbouncer ? `PgBouncer 1.25.2 (fairlead ${version})` : `fairlead ${version}` },
  ],
});

const SHOW_HELP = show({
  name: 'HELP',
  help: 'these lines',
  columns: { command: 'text', meaning: 'text' },
  rows: () => COMMANDS.flatMap((c) => (c.help === null ? [] : [{ command: usageOf(c), meaning: c.help }])),
});

export const COMMANDS: readonly Command[] = [
  SHOW_HELP,
  SHOW_NODES,
  SHOW_LAG,
  SHOW_FRESHNESS,
  SHOW_AUDIT,
  SHOW_STATE,
  SHOW_SYNC,
  SHOW_POOLS,
  SHOW_CLIENTS,
  SHOW_SERVERS,
  ...SOCKET_COMMANDS,
  ...STATS_COMMANDS,
  SHOW_TRAFFIC,
  SHOW_DATABASES,
  SHOW_USERS,
  SHOW_LISTS,
  SHOW_CONFIG,
  SHOW_EVENTS,
  SHOW_VERSION,
  SHOW_MEM,
  SHOW_WORKERS,
  ...ABSENT_COMMANDS,
  ...TRAFFIC_COMMANDS,
  ...OPERATE_COMMANDS,
  SET_COMMAND,
  ...DRIVER_COMMANDS,
];

/** A statement with the command it is. */
export type Resolved = { readonly command: Command; readonly argument: string | null };

/** @throws FairleadError unknown_command */
export function resolve(statement: Statement): Resolved {
  const upper = statement.map((word) => word.toUpperCase());
  const command = COMMANDS.find(({ words }) => words.every((word, i) => upper[i] === word));
  if (command === undefined) {
    throw new FairleadError('unknown_command', `unknown command "${statement.join(' ').slice(0, 60)}"`);
  }
  const rest = statement.slice(command.words.length);
  if (command.help === null || command.takesRest === true) return { command, argument: rest.join(' ') };
  const { argument } = command;
  if (rest.length > (argument === null ? 0 : 1)) {
    throw new FairleadError('unknown_command', `syntax error at or near "${rest.at(-1)}"`, `write ${usageOf(command)}`);
  }
  if (argument?.required && rest.length === 0) {
    throw new FairleadError(
      'unknown_command',
      `${command.words.join(' ')} needs a ${argument.name}`,
      `write ${usageOf(command)}`,
    );
  }
  return { command, argument: rest[0] ?? null };
}

function usageOf({ words, argument }: Command): string {
  const shown = argument === null ? '' : argument.required ? ` ${argument.name}` : ` [${argument.name}]`;
  return words.join(' ') + shown;
}
