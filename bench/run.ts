/**
 * Compares the ways to a server on this machine: direct, Fairlead, PgBouncer, pgpool-II. Installs nothing, takes what it finds, and
 * removes what it makes. `npm run bench -- --seconds 2 --rounds 2 --clients 1,8,32,128 --scale 10`
 */
import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { messageOf } from '../src/core/errors.ts';
import { startEmbeddedCluster } from '../src/embedded/embedded-cluster.ts';
import { unprivilegedUser } from '../src/embedded/unprivileged-user.ts';
import type { Backend, Contender } from './contender.ts';
import { findProgram, startFairlead, startPgbouncer, startPgpool, urlOf } from './contenders.ts';
import { initialize, measure, type Run, type Workload } from './pgbench.ts';
import { type ProcessorTime, processorTimeOf } from './processor-time.ts';
import { type Cell, failures, type Row, ratioTable, timeTable } from './report.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '2' },
    clients: { type: 'string', default: '1,8,32,128' },
    scale: { type: 'string', default: '10' },
    'pg-bin': { type: 'string' },
  },
});
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
const clientCounts = values.clients.split(',').map(Number);
const note = (line: string) => process.stderr.write(`${line}\n`);

const program = findProgram('pgbench') ?? fail('there is no pgbench here: apt-get install postgresql');

note('starting a primary and 2 replicas, without fsync …');
const cluster = await startEmbeddedCluster({
  replicas: 2,
  durable: false,
  pgBin: values['pg-bin'],
  settings: { max_connections: 500, shared_buffers: '256MB', max_wal_size: '4GB' },
});
try {
  const user = unprivilegedUser();
  const backends = cluster.nodes.map(({ port }): Backend => {
    return { host: '127.0.0.1', port, user: cluster.superuser, password: cluster.password };
  });
  const primary = backends[0] as Backend;
  await initialize(program, urlOf(primary), Number(values.scale));
  const direct: Contender = { name: 'direct', description: 'no proxy', url: urlOf(primary), pid: null };
  const contenders: Contender[] = [direct];
  for (const start of [
    () => startFairlead('Fairlead', [primary], 'the primary only'),
    () => startFairlead('Fairlead, 2 replicas', backends, 'the primary and its two replicas'),
    () => startPgbouncer(primary, user),
    () => startPgpool(primary, user),
  ]) {
    try {
      const contender = await start();
      if (contender !== null) contenders.push(contender);
    } catch (error) {
      note(`left out: ${messageOf(error)}`);
    }
  }
  note('warming up …');
  for (const contender of contenders) {
    for (const protocol of ['simple', 'extended', 'prepared'] as const) {
      // a compiler that is not done yet would be measured; who cannot do it says so in the table
      await measure(program, contender.url, { script: 'select-only', protocol, clients: 8 }, 2).catch(() => {});
    }
  }
  const rows: Row[] = [];
  for (const workload of workloads()) rows.push({ workload, cells: await compare(workload, contenders) });

  const version = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
  const load = loadavg()[0]?.toFixed(1);
  const lines = [
    `${new Date().toISOString().slice(0, 10)}; ${cpus()[0]?.model.trim()}, ${availableParallelism()} cores, load average at the end ${load};`,
    `PostgreSQL ${cluster.version}, ${version}, scale ${values.scale}, without fsync; ${rounds} runs of ${seconds} s for each cell.`,
    '',
    ...contenders.map(({ name, description }) => `* ${name}: ${description}`),
    '',
    'Throughput, as a multiple of the direct connection:',
    '',
    ratioTable(rows, contenders, direct),
    '',
    'Processor time of the proxy per transaction in µs: all (user + kernel):',
    '',
    timeTable(rows, contenders),
    '',
    ...failures(rows).map((line) => `–: ${line}`),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
} finally {
  await cluster.stop();
}
// what was started ends in the exit handlers
process.exit(0);

function workloads(): Workload[] {
  const reads = (['simple', 'extended', 'prepared'] as const).flatMap((protocol) =>
    clientCounts.map((clients): Workload => ({ script: 'select-only', protocol, clients })),
  );
  const writes = clientCounts
    .filter((clients) => clients === 8 || clients === 32)
    .map((clients): Workload => ({ script: 'tpcb-like', protocol: 'simple', clients }));
  return [...reads, ...writes];
}

/** All contenders in turn, every second time in the opposite order, so that a machine that slows down slows everybody down. */
async function compare(workload: Workload, contenders: readonly Contender[]): Promise<Map<Contender, Cell>> {
  const cells = new Map<Contender, Cell>();
  for (let round = 0; round < rounds; round++) {
    for (const contender of round % 2 === 0 ? contenders : [...contenders].reverse()) {
      const before = cells.get(contender) ?? { runs: [], time: null, failure: null };
      if (before.failure === null) cells.set(contender, await once(workload, contender, before));
    }
  }
  const { script, protocol, clients } = workload;
  const shown = [...cells].map(([{ name }, { runs }]) => `${name} ${Math.round(runs.at(-1)?.tps ?? 0)}`);
  note(`${script}, ${protocol}, ${clients}: ${shown.join(', ')}`);
  return cells;
}

async function once(workload: Workload, contender: Contender, before: Cell): Promise<Cell> {
  const from = timeOf(contender);
  let run: Run;
  try {
    run = await measure(program, contender.url, workload, seconds);
  } catch (error) {
    return { ...before, failure: messageOf(error) };
  }
  const to = timeOf(contender);
  const spent = from === null || to === null ? null : { user: to.user - from.user, kernel: to.kernel - from.kernel };
  return { runs: [...before.runs, run], time: sum(before.time, spent), failure: null };
}

function timeOf({ pid }: Contender): ProcessorTime | null {
  return pid === null ? null : processorTimeOf(pid);
}

function sum(a: ProcessorTime | null, b: ProcessorTime | null): ProcessorTime | null {
  if (a === null || b === null) return a ?? b;
  return { user: a.user + b.user, kernel: a.kernel + b.kernel };
}

function fail(message: string): never {
  note(message);
  process.exit(1);
}
