import type { Counts } from '../backend/database-counters.ts';
import { type DatabaseStatistics, sumOf } from '../frontend/statistics.ts';
import { show } from './command.ts';
import type { Columns, RowOf } from './table.ts';

/** One figure of PgBouncer: its name in SHOW STATS, in its subsets and in SHOW TOTALS, what it is and what it is averaged over. */
type Figure = {
  readonly total: string;
  readonly average: string;
  readonly subset: string;
  readonly averageSubset: string;
  readonly ever: string;
  /** Whole microseconds, bytes or times. */
  of(counts: Readonly<Counts>): number;
  /** Null: per second. */
  readonly per: ((counts: Readonly<Counts>) => number) | null;
};

type Names = Partial<Pick<Figure, 'total' | 'average' | 'subset' | 'averageSubset' | 'ever'>>;

function figure(name: string, of: Figure['of'], per: Figure['per'] = null, names: Names = {}): Figure {
  const plain = { total: `total_${name}`, average: `avg_${name}`, subset: name, averageSubset: name, ever: name };
  return { ...plain, ...names, of, per };
}

const micros = (ms: number) => Math.round(ms * 1000);

/** In PgBouncer's order, names and all. */
const FIGURES: readonly Figure[] = [
  figure('server_assignment_count', (c) => c.serverAssignments),
  figure('xact_count', (c) => c.transactions),
  figure('query_count', (c) => c.queries),
  figure('received', (c) => c.receivedBytes, null, {
    average: 'avg_recv',
    subset: 'bytes_received',
    averageSubset: 'bytes_received',
    ever: 'client_bytes',
  }),
  figure('sent', (c) => c.sentBytes, null, {
    subset: 'bytes_sent',
    averageSubset: 'bytes_sent',
    ever: 'server_bytes',
  }),
  figure(
    'xact_time',
    (c) => micros(c.transactionMs),
    (c) => c.transactions,
  ),
  figure(
    'query_time',
    (c) => micros(c.queryMs),
    (c) => c.queries,
  ),
  figure(
    'wait_time',
    (c) => micros(c.waitMs),
    (c) => c.serverAssignments,
  ),
  figure('client_parse_count', (c) => c.clientParses, null, {
    averageSubset: 'avg_client_parse_count',
    ever: 'ps_client_parse_count',
  }),
  figure('server_parse_count', (c) => c.serverParses, null, {
    averageSubset: 'avg_server_parse_count',
    ever: 'ps_server_parse_count',
  }),
  figure('bind_count', (c) => c.binds, null, { averageSubset: 'avg_bind_count', ever: 'ps_bind_count' }),
  figure('client_login_count', (c) => c.logins, null, { averageSubset: 'avg_client_login_count' }),
];

type Statistics = Omit<DatabaseStatistics, 'database'>;

function average({ of, per }: Figure, { recent, recentMs }: Statistics): number {
  if (per === null) return (of(recent) * 1000) / recentMs;
  const times = per(recent);
  return times === 0 ? 0 : of(recent) / times;
}

function columnsOf(names: readonly string[]): Columns {
  return Object.fromEntries([['database', 'text'], ...names.map((name) => [name, 'numeric'] as const)]);
}

type Cells = (statistics: Statistics) => readonly (readonly [string, number])[];

const totals = (name: 'total' | 'subset'): Cells => {
  return ({ total }) => FIGURES.map((f) => [f[name], f.of(total)]);
};
const averages = (name: 'average' | 'averageSubset'): Cells => {
  return (statistics) => FIGURES.map((f) => [f[name], average(f, statistics)]);
};

function rowsOf(databases: readonly DatabaseStatistics[], ...cells: readonly Cells[]): RowOf<Columns>[] {
  return databases.map((statistics) =>
    Object.fromEntries([['database', statistics.database], ...cells.flatMap((cell) => cell(statistics))]),
  );
}

/** https://www.pgbouncer.org/usage.html#show-stats; times in microseconds. */
export const STATS_COMMANDS = [
  show({
    name: 'STATS',
    help: 'what clients did, by database: totals since the start, averages over the last stats_period',
    columns: columnsOf([...FIGURES.map((f) => f.total), ...FIGURES.map((f) => f.average)]),
    rows: ({ statistics }) => rowsOf(statistics.databases(), totals('total'), averages('average')),
  }),
  show({
    name: 'STATS_TOTALS',
    help: 'the totals of SHOW STATS',
    columns: columnsOf(FIGURES.map((f) => f.subset)),
    rows: ({ statistics }) => rowsOf(statistics.databases(), totals('subset')),
  }),
  show({
    name: 'STATS_AVERAGES',
    help: 'the averages of SHOW STATS',
    columns: columnsOf(FIGURES.map((f) => f.averageSubset)),
    rows: ({ statistics }) => rowsOf(statistics.databases(), averages('averageSubset')),
  }),
  show({
    name: 'TOTALS',
    help: 'SHOW STATS over all databases',
    columns: { name: 'text', value: 'numeric' },
    rows: ({ statistics }) => {
      const databases = statistics.databases();
      const all: Statistics = {
        total: sumOf(databases.map((d) => d.total)),
        recent: sumOf(databases.map((d) => d.recent)),
        recentMs: databases[0]?.recentMs ?? 1,
      };
      return [
        ...FIGURES.map((f) => ({ name: `total_${f.ever}`, value: f.of(all.total) })),
        ...FIGURES.map((f) => ({ name: `avg_${f.ever}`, value: average(f, all) })),
      ];
    },
  }),
];
