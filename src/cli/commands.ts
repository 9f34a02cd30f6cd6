export type CommandName =
  | 'demo'
  | 'start'
  | 'check'
  | 'migrate'
  | 'status'
  | 'switchover'
  | 'failover'
  | 'pause'
  | 'resume'
  | 'drain'
  | 'undrain'
  | 'rejoin'
  | 'replica'
  | 'agent'
  | 'recover'
  | 'reload'
  | 'import'
  | 'help'
  | 'version';

/** One command: how it is written and what it does. */
export type CommandEntry = {
  readonly name: CommandName;
  readonly usage: string;
  readonly summary: string;
};

const REMOTE = '[--http URL] [--token T] [--json]';
const SOURCE = '-c FILE | --node NAME=HOST:PORT … --user U [--database D] [--listen A] [--http A]';

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'demo',
    usage:
      'demo [--replicas N] [--port P] [--http-port P] [--data-dir D] [--pg-bin DIR] [--load] [--json] [--log-level L]',
    summary: 'a real primary with streaming replicas, Fairlead before them, dashboard; Ctrl-C removes everything',
  },
  {
    name: 'start',
    usage: `start ${SOURCE}`,
    summary: 'the proxy; the password without a file comes from FAIRLEAD_PASSWORD or PGPASSWORD',
  },
  {
    name: 'check',
    usage: `check ${SOURCE} [--json]`,
    summary:
      'validates the configuration and asks each node for missing privileges and settings; exit 1 if it would not run',
  },
  {
    name: 'migrate',
    usage: `migrate ${SOURCE} [--json]`,
    summary: 'creates or upgrades schema fairlead on the primary',
  },
  {
    name: 'status',
    usage: `status ${REMOTE}`,
    summary: 'roles, states and lag of a running Fairlead',
  },
  {
    name: 'switchover',
    usage: `switchover [--to NODE] [--wait TIME] [--plan | --at TIME | --in TIME | --cancel] ${REMOTE}`,
    summary:
      'hands the primary role to a replica without losing a commit: now or later; or says what that would do, or takes it back',
  },
  {
    name: 'failover',
    usage: `failover [--allow-data-loss] ${REMOTE}`,
    summary:
      'promotes the best replica now, because the primary is gone; if allowed, also one that may lack commits promised to be safe',
  },
  {
    name: 'pause',
    usage: `pause ${REMOTE}`,
    summary: 'holds new statements until resume',
  },
  {
    name: 'resume',
    usage: `resume ${REMOTE}`,
    summary: 'lets held statements go on',
  },
  {
    name: 'drain',
    usage: `drain NODE ${REMOTE}`,
    summary: 'sends no more reads to a node',
  },
  {
    name: 'undrain',
    usage: `undrain NODE ${REMOTE}`,
    summary: 'takes a drained node back',
  },
  {
    name: 'rejoin',
    usage: `rejoin NODE [--rewind | --clone] [-c FILE] ${REMOTE}`,
    summary: 'makes a former primary, or a broken replica, follow the primary again, by the agent beside it',
  },
  {
    name: 'replica',
    usage:
      'replica create NAME -c FILE [--address HOST:PORT] [--agent HOST:PORT | --data-dir D --pg-bin DIR [--config-file F]] [--json]',
    summary: 'a further replica, by a base backup of the primary: on this machine, or by the agent of another one',
  },
  {
    name: 'agent',
    usage: 'agent [-c FILE] --data-dir D --pg-bin DIR [--config-file F] [--listen A] [--log-level L]',
    summary:
      'beside one PostgreSQL server: starts, stops, rewinds and clones it; the token comes from FAIRLEAD_AGENT_TOKEN',
  },
  {
    name: 'recover',
    usage: 'recover FILE -c FILE [--apply] [--conflicts stop|skip-row] [--json]',
    summary:
      'what a journal of lost transactions would change on the primary, and what stands against it; --apply does it',
  },
  {
    name: 'reload',
    usage: `reload ${REMOTE}`,
    summary: 'reads the configuration again and prints what changed',
  },
  {
    name: 'import',
    usage: 'import PGBOUNCER.INI [--output FILE]',
    summary: 'turns a configuration of PgBouncer into one of Fairlead',
  },
  {
    name: 'help',
    usage: 'help [COMMAND | config]',
    summary: 'this, or one command, or every key of the configuration',
  },
  {
    name: 'version',
    usage: 'version',
    summary: 'the version',
  },
];
