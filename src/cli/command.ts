/** What every command has in common. One command per file; they print, and hold no logic. */
import type { Config } from '../config/config.ts';
import type { Change } from '../config/difference.ts';
import type { Address } from '../config/units.ts';
import type { Log } from '../core/log.ts';
import type { ShutdownMode } from '../frontend/shutdown.ts';

/** A running Fairlead, as the composition root hands it out. */
export type RunningApp = {
  readonly listen: Address;
  readonly listenReadOnly: Address | null;
  readonly http: Address;
  /** Reads the configuration again. @returns what changed */
  reload(): Promise<readonly Change[]>;
  /** Ends it; a later call may hasten an earlier one. Resolves when nothing of it runs any more. */
  shutDown(mode: ShutdownMode): Promise<void>;
  /** Resolves when it has come to its end, whoever asked for that. */
  readonly done: Promise<void>;
  stop(): Promise<void>;
};

/** What a command is given from outside; `startApp` because the composition root stands above the commands. */
export type Context = {
  readonly startApp: (config: Config, log: Log, readConfig?: () => Config) => Promise<RunningApp>;
  readonly environment: NodeJS.ProcessEnv;
  /** Writes one line to stdout, where only results go. */
  print(line: string): void;
  /** Writes one line to stderr. */
  note(line: string): void;
};

/** Exit codes: 0 done or stopped on request, 1 failed or refused, 2 wrong arguments or configuration. */
export type ExitCode = 0 | 1 | 2;

export type Command = (args: readonly string[], context: Context) => Promise<ExitCode>;
