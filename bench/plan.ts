import { parseArgs } from 'node:util';
import type { Workload } from './measure/pgbench.ts';

export const PARTS = ['throughput', 'latency', 'connects', 'memory', 'relay', 'staleness', 'outage', 'micro'] as const;
export type Part = (typeof PARTS)[number];

/** What is measured, how long and how often. */
export type Plan = {
  readonly parts: readonly Part[];
  /** Names of those that take part beside the direct connection; null: all that are found. */
  readonly contenders: readonly string[] | null;
  readonly rounds: number;
  /** Of a run of throughput, and of a paced one. */
  readonly seconds: number;
  readonly pacedSeconds: number;
  readonly scale: number;
  readonly protocols: readonly Workload['protocol'][];
  /** Numbers of clients that read, that read over a connection for each transaction, that write. */
  readonly clients: readonly number[];
  readonly reconnecting: readonly number[];
  readonly writers: readonly number[];
  /** Requests per second; null: half of what a direct connection can do at most. */
  readonly rate: number | null;
  readonly idleClients: number;
  readonly connects: number;
  /** Sessions that staleness is looked for in; half of them write. */
  readonly sessions: number;
  /** How far behind the replicas are kept during the bulk load. */
  readonly bulkDelayMs: number;
  /** Of each fault that takes the primary away. */
  readonly outages: number;
  /** Values of failover.timeout. */
  readonly timeoutsMs: readonly number[];
  /** Of a result and of a COPY, MB. */
  readonly relayMb: number;
  /** How long each operation of the micro-benchmarks is repeated. */
  readonly microMs: number;
  readonly pgBin: string | undefined;
};

const FULL = {
  contenders: null,
  rounds: 2,
  seconds: 2,
  pacedSeconds: 5,
  scale: 10,
  protocols: ['simple', 'extended', 'prepared'],
  clients: [1, 8, 32, 128, 512],
  reconnecting: [1, 8, 32],
  writers: [8, 32],
  idleClients: 10_000,
  connects: 5000,
  sessions: 16,
  bulkDelayMs: 11_000,
  outages: 20,
  timeoutsMs: [3000, 1000],
  relayMb: 500,
  microMs: 300,
} as const;

const QUICK = {
  contenders: ['Fairlead', 'PgBouncer', 'HAProxy'],
  rounds: 1,
  seconds: 1,
  pacedSeconds: 1,
  scale: 1,
  protocols: ['simple'],
  clients: [32],
  reconnecting: [8],
  writers: [8],
  idleClients: 2000,
  connects: 1000,
  sessions: 8,
  bulkDelayMs: 2000,
  outages: 2,
  timeoutsMs: [1000],
  relayMb: 100,
  microMs: 30,
} as const;

/** @throws Error when the arguments are not understood. */
export function planFrom(args: readonly string[]): Plan {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      micro: { type: 'boolean', default: false },
      only: { type: 'string' },
      contenders: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      scale: { type: 'string' },
      clients: { type: 'string' },
      rate: { type: 'string' },
      'idle-clients': { type: 'string' },
      connects: { type: 'string' },
      sessions: { type: 'string' },
      outages: { type: 'string' },
      timeouts: { type: 'string' },
      'relay-mb': { type: 'string' },
      'pg-bin': { type: 'string' },
    },
  });
  const preset = values.quick ? QUICK : FULL;
  type Count = 'rounds' | 'seconds' | 'scale' | 'idle-clients' | 'connects' | 'sessions' | 'outages' | 'relay-mb';
  const number = (name: Count, or: number) => (values[name] === undefined ? or : positive(name, values[name]));
  const list = (name: string, text: string | undefined) => text?.split(',').map((one) => positive(name, one));
  const clients = list('clients', values.clients);
  const chosen = (numbers: readonly number[]) => numbers.filter((count) => clients?.includes(count) ?? true);
  return {
    ...preset,
    contenders: values.contenders?.split(',') ?? preset.contenders,
    parts: values.micro ? ['micro'] : partsOf(values.only),
    rounds: number('rounds', preset.rounds),
    seconds: number('seconds', preset.seconds),
    pacedSeconds: number('seconds', preset.pacedSeconds),
    scale: number('scale', preset.scale),
    clients: clients ?? preset.clients,
    reconnecting: chosen(preset.reconnecting),
    writers: chosen(preset.writers),
    rate: values.rate === undefined ? null : positive('rate', values.rate),
    idleClients: number('idle-clients', preset.idleClients),
    connects: number('connects', preset.connects),
    sessions: number('sessions', preset.sessions),
    outages: number('outages', preset.outages),
    timeoutsMs: list('timeouts', values.timeouts) ?? preset.timeoutsMs,
    relayMb: number('relay-mb', preset.relayMb),
    pgBin: values['pg-bin'],
  };
}

function partsOf(only: string | undefined): readonly Part[] {
  if (only === undefined) return PARTS;
  const names = only.split(',');
  const unknown = names.find((name) => !PARTS.includes(name as Part));
  if (unknown !== undefined) throw new Error(`no part ${unknown}: ${PARTS.join(', ')}`);
  return PARTS.filter((part) => names.includes(part));
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name}: ${text} is not a positive whole number`);
  return value;
}
