import { type Lsn, parseLsn } from '../core/lsn.ts';

/** Where a timeline was left for the next one. */
export type TimelineStep = { readonly timeline: number; readonly endLsn: Lsn };

/** A server's timeline and the ancestors of it, oldest first. */
export type TimelineHistory = {
  readonly timeline: number;
  readonly steps: readonly TimelineStep[];
  /** False when the server would not show its history: `steps` is empty then, whatever the ancestors were. */
  readonly known: boolean;
};

/** Reads the text of a `.history` file: lines of timeline, switch point and reason, `#` for comments (timeline.c). */
export function parseTimelineHistory(timeline: number, text: string): TimelineHistory {
  const steps: TimelineStep[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line);
    if (match !== null) steps.push({ timeline: Number(match[1]), endLsn: parseLsn(match[2] as string) });
  }
  return { timeline, steps, known: true };
}

/** The point up to which `ancestor` is part of `history`; null when it is not an ancestor. */
export function forkOf(history: TimelineHistory, ancestor: number): Lsn | null {
  return history.steps.find((step) => step.timeline === ancestor)?.endLsn ?? null;
}

/** Name of the history file in `pg_wal`. Timeline 1 has none. */
export function historyFileName(timeline: number): string {
  return `${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`;
}
