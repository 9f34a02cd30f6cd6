import { nearest } from '../config/keys.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Command, Context, ExitCode } from './command.ts';
import { COMMANDS, type CommandName } from './commands.ts';

/** Each is loaded only when it runs. */
const LOAD: Record<CommandName, () => Promise<Command>> = {
  demo: async () => (await import('./demo.ts')).demo,
  start: async () => (await import('./start.ts')).start,
  check: async () => (await import('./check.ts')).check,
  migrate: async () => (await import('./migrate.ts')).migrate,
  status: async () => (await import('./status.ts')).status,
  switchover: async () => (await import('./switchover.ts')).switchover,
  failover: async () => (await import('./failover.ts')).failover,
  pause: async () => (await import('./pause.ts')).pause,
  resume: async () => (await import('./resume.ts')).resume,
  drain: async () => (await import('./drain.ts')).drain,
  undrain: async () => (await import('./undrain.ts')).undrain,
  rejoin: async () => (await import('./rejoin.ts')).rejoin,
  replica: async () => (await import('./replica.ts')).replica,
  agent: async () => (await import('./agent.ts')).agent,
  recover: async () => (await import('./recover.ts')).recover,
  reload: async () => (await import('./reload.ts')).reload,
  import: async () => (await import('./import.ts')).importCommand,
  help: async () => (await import('./help.ts')).help,
  version: async () => (await import('./version.ts')).version,
};

const WRONG_USE = new Set(['bad_arguments', 'bad_config', 'port_taken']);

/** Runs a command line; every failure becomes one line on stderr and an exit code. FAIRLEAD_DEBUG=1 adds the stack. */
export async function runCommand(args: readonly string[], context: Context): Promise<ExitCode> {
  try {
    const [given = 'help', ...rest] = args;
    const name =
      given === '--version' || given === '-v' ? 'version' : given === '--help' || given === '-h' ? 'help' : given;
    const entry = COMMANDS.find((command) => command.name === name);
    if (entry === undefined) {
      const near = nearest(
        name,
        COMMANDS.map((command) => command.name),
      );
      throw new FairleadError(
        'bad_arguments',
        `unknown command ${name}${near === null ? '' : `; did you mean ${near}?`}`,
      );
    }
    const wantsHelp = rest.some((arg) => arg === '--help' || arg === '-h');
    if (wantsHelp && name !== 'help') return await runCommand(['help', name], context);
    const command = await LOAD[entry.name]();
    return await command(rest, context);
  } catch (error) {
    context.note(`fairlead: ${describe(error)}`);
    if (context.environment.FAIRLEAD_DEBUG && error instanceof Error) context.note(error.stack ?? '');
    return exitCodeOf(error);
  }
}

/** What went wrong and what to do, in one line. */
export function describe(error: unknown): string {
  const taken = takenAddress(error);
  if (taken !== null) return `${taken} is taken; stop the program that has it, or choose another one`;
  const text = messageOf(error).replaceAll(/\s*\n\s*/g, ' | ');
  return error instanceof FairleadError ? `${text}; ${error.remedy}` : text;
}

function exitCodeOf(error: unknown): ExitCode {
  if (takenAddress(error) !== null) return 2;
  return error instanceof FairleadError && WRONG_USE.has(error.code) ? 2 : 1;
}

/** The address that a listener could not have (EADDRINUSE), or null for other errors. */
function takenAddress(error: unknown): string | null {
  const { code, address, port } = (error ?? {}) as { code?: string; address?: string; port?: number };
  return code === 'EADDRINUSE' && port !== undefined ? `${address ?? 'port'}:${port}` : null;
}
