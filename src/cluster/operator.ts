/** What operators asked for. Frozen; replaced, never edited. Writers: `api` and `console`. */
export type OperatorIntent = {
  /** Nodes kept out of reads. */
  readonly drained: ReadonlySet<string>;
  /** All traffic is held. */
  readonly paused: boolean;
  /** Databases whose traffic is held, as clients name them. */
  readonly pausedDatabases: ReadonlySet<string>;
  /** Databases that take no new clients. */
  readonly disabledDatabases: ReadonlySet<string>;
};

export const NO_INTENT: OperatorIntent = Object.freeze({
  drained: new Set<string>(),
  paused: false,
  pausedDatabases: new Set<string>(),
  disabledDatabases: new Set<string>(),
});

/** True when statements in the database are held. `database` as clients name it. */
export function isPaused({ paused, pausedDatabases }: OperatorIntent, database: string): boolean {
  return paused || pausedDatabases.has(database);
}
