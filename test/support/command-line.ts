/** The program as people start it: a process of its own, judged by what it prints and its exit code. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.js');

export type Ended = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
};

export type Running = {
  readonly child: ChildProcess;
  /** The first line on stdout. @throws Error with stderr when it ends without one */
  readonly line: Promise<string>;
  readonly ended: Promise<Ended>;
};

/** @param main another copy of the program than the one under test */
export function startCommand(args: readonly string[], options: SpawnOptions = {}, main = MAIN): Running {
  const env = { ...process.env, ...options.env };
  // tells a child that it is a test file
  delete env.NODE_TEST_CONTEXT;
  const child = spawn(process.execPath, [main, ...args], { ...options, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  const ended = new Promise<Ended>((resolve) =>
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr })),
  );
  const line = new Promise<string>((resolve, reject) => {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (stdout.includes('\n')) resolve(stdout.slice(0, stdout.indexOf('\n')));
    });
    child.once('close', (code, signal) => reject(new Error(`it ended with ${code ?? signal}: ${stderr}`)));
  });
  line.catch(() => {});
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return { child, line, ended };
}

/** Runs it to its end. */
export function runCommandLine(args: readonly string[], options: SpawnOptions = {}): Promise<Ended> {
  return startCommand(args, options).ended;
}
