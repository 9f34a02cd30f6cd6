import { type ChildProcess, spawn } from 'node:child_process';
import { messageOf } from '../core/errors.ts';

export type HookOrder = {
  readonly command: readonly string[];
  readonly timeoutMs: number;
  /** What it reads from its standard input, as JSON. */
  readonly input: object;
  readonly signal: AbortSignal;
};

export type HookResult = {
  /** Why it did not end well; null: it did. */
  readonly problem: string | null;
  readonly stdout: string;
  readonly stderr: string;
};

/** Of each output at most this many characters are kept, the last ones. */
const OUTPUT_LIMIT = 8192;
/** What it started may hold the outputs open: they are read for this long after its end. */
const DRAIN_MS = 200;

/**
 * Runs a program without a shell, in a process group of its own. At the time-out, and when `signal` says so, the group is killed.
 * Never rejects.
 */
export function runHookProcess({ command, timeoutMs, input, signal }: HookOrder): Promise<HookResult> {
  return new Promise((resolve) => {
    const [file, ...args] = command as readonly [string, ...string[]];
    let child: ChildProcess;
    try {
      child = spawn(file, args, { stdio: 'pipe', detached: true, env: environment() });
    } catch (error) {
      return resolve({ problem: cannotRun(error), stdout: '', stderr: '' });
    }
    let stdout = '';
    let stderr = '';
    let killedFor: string | null = null;
    let drain: NodeJS.Timeout | undefined;
    const kill = (why: string) => {
      killedFor ??= why;
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // the group has ended by itself
      }
    };
    const timer = setTimeout(() => kill(`did not end within ${timeoutMs} ms`), timeoutMs);
    const abort = () => kill('Fairlead stops');
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    const end = (problem: string | null) => {
      clearTimeout(timer);
      clearTimeout(drain);
      signal.removeEventListener('abort', abort);
      child.stdout?.destroy();
      child.stderr?.destroy();
      resolve({ problem, stdout, stderr });
    };
    // without descriptors there are no streams, and this is told before anything else
    child.on('error', (error) => end(cannotRun(error)));
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout = `${stdout}${text}`.slice(-OUTPUT_LIMIT);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = `${stderr}${text}`.slice(-OUTPUT_LIMIT);
    });
    // one that reads nothing is fine
    child.stdin?.on('error', () => {});
    child.stdin?.end(`${JSON.stringify(input)}\n`);
    const problemOf = (code: number | null, by: NodeJS.Signals | null) => {
      if (killedFor !== null) return killedFor;
      if (code === 0) return null;
      return lastLine(stderr) ?? (code === null ? `was ended by ${by}` : `ended with code ${code}`);
    };
    child.on('exit', (code, by) => {
      drain = setTimeout(() => end(problemOf(code, by)), DRAIN_MS);
    });
    child.on('close', (code, by) => end(problemOf(code, by)));
  });
}

function cannotRun(error: unknown): string {
  return `cannot be run: ${messageOf(error)}`;
}

function lastLine(text: string): string | null {
  return text.trim().split('\n').at(-1)?.trim().slice(0, 500) || null;
}

/** Its user's environment, without what may be a secret of the configuration. */
function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('FAIRLEAD_') && name !== 'PGPASSWORD');
  return Object.fromEntries(kept);
}
