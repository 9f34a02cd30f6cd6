/** Transactions per second of closed loops, and what the proxies' processors spent on each. */
import { type ComparedRow, comparison } from '../comparison.ts';
import type { Contender } from '../contender/contender.ts';
import { requireRoom } from '../contender/room.ts';
import type { Run, Workload } from '../measure/pgbench.ts';
import type { ProcessorTime } from '../measure/processor-time.ts';
import type { Plan } from '../plan.ts';
import type { Scene } from '../scene.ts';
import { NONE, ratio } from '../table.ts';
import { failuresOf, meanOf, type Outcomes, takeTurns } from '../turns.ts';
import type { Section } from './section.ts';

type Row = { readonly workload: Workload; readonly outcomes: Outcomes<Run> };

export async function throughput({ contenders, pgbench, plan, note }: Scene): Promise<Section> {
  const rows: Row[] = [];
  for (const workload of workloads(plan)) {
    const outcomes = await takeTurns(plan.rounds, contenders, (contender) => {
      requireRoom(contender, workload.clients);
      return pgbench.measure(contender, workload, plan.seconds);
    });
    const shown = [...outcomes].map(([{ name }, { results }]) => `${name} ${Math.round(results.at(-1)?.tps ?? 0)}`);
    note(`${nameOf(workload)}, ${workload.clients}: ${shown.join(', ')}`);
    rows.push({ workload, outcomes });
  }
  const failures = rows.flatMap(({ workload, outcomes }) => failuresOf(outcomes, nameOf(workload)));
  const lines = [
    `${plan.rounds} runs of ${plan.seconds} s for each cell. As a multiple of the direct connection:`,
    '',
    ...ratioTable(rows, contenders),
    '',
    'Processor time of the proxy per transaction in µs: all (user + kernel):',
    '',
    ...timeTable(rows, contenders),
    '',
    ...new Set(failures),
  ];
  return { title: 'Throughput', lines };
}

function workloads({ clients, reconnecting, writers, protocols }: Plan): Workload[] {
  const reads = protocols.flatMap((protocol) =>
    clients.map((count): Workload => ({ script: 'select-only', protocol, clients: count, reconnect: false })),
  );
  const logins = reconnecting.map(
    (count): Workload => ({ script: 'select-only', protocol: 'simple', clients: count, reconnect: true }),
  );
  const writes = writers.map(
    (count): Workload => ({ script: 'tpcb-like', protocol: 'simple', clients: count, reconnect: false }),
  );
  return [...reads, ...logins, ...writes];
}

function nameOf({ script, protocol, reconnect }: Workload): string {
  const kind = script === 'select-only' ? '-S' : 'TPC-B';
  return reconnect ? `${kind} -C, ${protocol}` : `${kind}, ${protocol}`;
}

/** Relative to the first contender, who is shown in transactions per second. */
function ratioTable(rows: readonly Row[], contenders: readonly Contender[]): string[] {
  const base = contenders[0] as Contender;
  const compared = rows.map(({ workload, outcomes }): ComparedRow => {
    const value = (contender: Contender) => meanOf(outcomes.get(contender), ({ tps }) => tps);
    const text = (contender: Contender) =>
      contender === base ? rounded(value(base)) : ratio(value(contender), value(base));
    return { labels: [nameOf(workload), String(workload.clients)], value, text };
  });
  const headOf = (contender: Contender) => (contender === base ? `${base.name}, tps` : contender.name);
  return comparison(['workload', 'clients'], contenders, compared, headOf);
}

function timeTable(rows: readonly Row[], contenders: readonly Contender[]): string[] {
  const compared = rows.map(({ workload, outcomes }): ComparedRow => {
    const spent = (contender: Contender, part: (time: ProcessorTime) => number) =>
      meanOf(outcomes.get(contender), ({ perTransaction }) => perTransaction && part(perTransaction));
    const value = (contender: Contender) => spent(contender, ({ user, kernel }) => user + kernel);
    const text = (contender: Contender) => {
      const [user, kernel] = [spent(contender, (time) => time.user), spent(contender, (time) => time.kernel)];
      return user === null ? NONE : `${rounded(value(contender))} (${rounded(user)} + ${rounded(kernel)})`;
    };
    return { labels: [nameOf(workload), String(workload.clients)], value, text };
  });
  const proxies = contenders.filter(({ pid }) => pid !== null);
  return comparison(['workload', 'clients'], proxies, compared);
}

function rounded(value: number | null): string {
  return value === null ? NONE : String(Math.round(value));
}
