/** What operators asked for. Frozen; replaced, never edited. Writers: `api` and `console`. */
export type OperatorIntent = {
  /** Nodes kept out of reads. */
  readonly drained: ReadonlySet<string>;
  /** All traffic is held. */
  readonly paused: boolean;
};

export const NO_INTENT: OperatorIntent = Object.freeze({ drained: new Set<string>(), paused: false });
