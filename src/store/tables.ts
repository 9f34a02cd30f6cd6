/** Rows of schema `fairlead`, as kysely sees them. `migrations/` is what makes the tables. */

export type EpochsTable = {
  /** bigint: `pg` reads it as text. */
  epoch: string;
  primary: string;
  timeline: number;
  system_id: string;
  fork_lsn: string | null;
  reason: string;
  at: Date;
};

export type EventsTable = {
  id: string;
  at: Date;
  kind: string;
  epoch: string | null;
  node: string | null;
  message: string;
  detail: unknown;
};

export type LagSamplesTable = {
  at: Date;
  node: string;
  lag_ms: number | null;
  lag_bytes: string | null;
};

/** One row for each epoch: the newest version of it. */
export type SynchronyTable = {
  /** bigint: `pg` reads it as text. */
  epoch: string;
  version: number;
  primary: string;
  timeline: number;
  /** A list of quorums: `[{ "copies": 1, "nodes": ["pg2", "pg3"] }]`. */
  guarantee: unknown;
  at: Date;
};

export type FairleadTables = {
  epochs: EpochsTable;
  events: EventsTable;
  lag_samples: LagSamplesTable;
  synchrony: SynchronyTable;
};
