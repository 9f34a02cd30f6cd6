/** A switchover to be made later. */
export type ScheduledSwitchover = {
  /** Wall clock, milliseconds since 1970. */
  readonly atMs: number;
  /** Null: the most advanced replica. */
  readonly to: string | null;
  /** How long transactions may take to end; null: as long as usual. */
  readonly waitMs: number | null;
};

/** What operators asked for. Frozen; replaced, never edited. Writers: `api`, `console`, and `failover` for what is scheduled. */
export type OperatorIntent = {
  /** Nodes kept out of reads. */
  readonly drained: ReadonlySet<string>;
  /** All traffic is held. */
  readonly paused: boolean;
  /** Databases whose traffic is held, as clients name them. */
  readonly pausedDatabases: ReadonlySet<string>;
  /** Databases that take no new clients. */
  readonly disabledDatabases: ReadonlySet<string>;
  readonly scheduled: ScheduledSwitchover | null;
};

export const NO_INTENT: OperatorIntent = Object.freeze({
  drained: new Set<string>(),
  paused: false,
  pausedDatabases: new Set<string>(),
  disabledDatabases: new Set<string>(),
  scheduled: null,
});

/** True when statements in the database are held. `database` as clients name it. */
export function isPaused({ paused, pausedDatabases }: OperatorIntent, database: string): boolean {
  return paused || pausedDatabases.has(database);
}
