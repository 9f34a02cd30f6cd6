import { spawn } from 'node:child_process';

/** One cell of the table. */
export type Workload = {
  readonly script: 'select-only' | 'tpcb-like';
  readonly protocol: 'simple' | 'extended' | 'prepared';
  readonly clients: number;
};

export type Run = { readonly tps: number; readonly latencyMs: number; readonly transactions: number };

/** @throws Error with the first line that pgbench complained with. */
export async function initialize(program: string, url: string, scale: number): Promise<void> {
  await pgbench(program, ['-i', '-q', '-s', String(scale), url]);
}

/** @throws Error when a client of it fails. */
export async function measure(program: string, url: string, workload: Workload, seconds: number): Promise<Run> {
  const { script, protocol, clients } = workload;
  // its clock runs while it logs in, one client after the other, and the throughput it tells leaves that out
  const limit = seconds + Math.ceil(clients / 64);
  const args = ['-n', '-b', script, '-M', protocol, '-c', String(clients), '-j', '1', '-T', String(limit), url];
  const output = await pgbench(program, args);
  const number = (pattern: RegExp) => Number(pattern.exec(output)?.[1] ?? Number.NaN);
  const run: Run = {
    tps: number(/tps = ([\d.]+) \(without/),
    latencyMs: number(/latency average = ([\d.]+) ms/),
    transactions: number(/actually processed: (\d+)/),
  };
  if (!(run.tps > 0)) throw new Error(`no transaction within ${seconds} s`);
  return run;
}

function pgbench(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let complaints = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      complaints += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) return resolve(output);
      const line = complaints.split('\n').find((text) => /error|fatal/i.test(text)) ?? `exit code ${code}`;
      reject(new Error(line.trim()));
    });
  });
}
