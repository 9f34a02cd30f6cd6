import type { Contender } from './contender.ts';
import type { Run, Workload } from './pgbench.ts';
import type { ProcessorTime } from './processor-time.ts';

/** What one contender did in one cell: sums over its runs, or why it could not. */
export type Cell = {
  readonly runs: readonly Run[];
  readonly time: ProcessorTime | null;
  readonly failure: string | null;
};

export type Row = { readonly workload: Workload; readonly cells: ReadonlyMap<Contender, Cell> };

/** Throughput relative to `baseline`, which is shown in transactions per second; then the proxies' processor time. */
export function ratioTable(rows: readonly Row[], contenders: readonly Contender[], baseline: Contender): string {
  const others = contenders.filter((c) => c !== baseline);
  const lines = rows.map(({ workload, cells }) => {
    const base = meanTps(cells.get(baseline));
    const ratios = others.map((other) => {
      const tps = meanTps(cells.get(other));
      return tps === null || base === null ? '–' : (tps / base).toFixed(2);
    });
    return [nameOf(workload), String(workload.clients), base === null ? '–' : Math.round(base).toString(), ...ratios];
  });
  return table([['workload', 'clients', `${baseline.name}, tps`, ...others.map((c) => c.name)], ...lines]);
}

/** Microseconds of processor time per transaction: user + kernel. */
export function timeTable(rows: readonly Row[], contenders: readonly Contender[]): string {
  const proxies = contenders.filter((c) => c.pid !== null);
  const lines = rows.map(({ workload, cells }) => [
    nameOf(workload),
    String(workload.clients),
    ...proxies.map((proxy) => timeText(cells.get(proxy))),
  ]);
  return table([['workload', 'clients', ...proxies.map((c) => c.name)], ...lines]);
}

export function failures(rows: readonly Row[]): string[] {
  const found = new Map<string, string>();
  for (const { workload, cells } of rows) {
    for (const [{ name }, { failure }] of cells) {
      if (failure !== null) found.set(`${name}, ${workload.protocol}`, failure);
    }
  }
  return [...found].map(([where, why]) => `${where}: ${why}`);
}

function nameOf({ script, protocol }: Workload): string {
  return script === 'select-only' ? `-S, ${protocol}` : `TPC-B, ${protocol}`;
}

function meanTps(cell: Cell | undefined): number | null {
  if (cell === undefined || cell.failure !== null || cell.runs.length === 0) return null;
  return cell.runs.reduce((sum, run) => sum + run.tps, 0) / cell.runs.length;
}

function timeText(cell: Cell | undefined): string {
  if (cell === undefined || cell.time === null || cell.failure !== null) return '–';
  const transactions = cell.runs.reduce((sum, run) => sum + run.transactions, 0);
  const { user, kernel } = cell.time;
  const each = (micros: number) => (micros / transactions).toFixed(0);
  return `${each(user + kernel)} (${each(user)} + ${each(kernel)})`;
}

/** Markdown; numbers to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...body.map(line)].join('\n');
}
