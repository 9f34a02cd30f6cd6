import type { Quorum } from '../../cluster/synchrony.ts';
import type { SynchronyRecord } from '../../store/records.ts';
import type { Frozen } from '../state.ts';
import { NOBODY } from './quorum.ts';
import type { SyncStore } from './sync-store.ts';

export type Learned = {
  readonly guarantee: readonly Quorum[];
  readonly seen: ReadonlySet<string>;
};

/**
 * What followers that stand still know of the last setting. Only what they have replayed can be read, so one with WAL left to replay tells
 * nothing: the newest record may be in it. Never rejects.
 */
export async function learn(store: Pick<SyncStore, 'latestSynchrony'>, frozen: readonly Frozen[]): Promise<Learned> {
  const seen = new Set<string>();
  const records: SynchronyRecord[] = [];
  const read = async ({ node }: Frozen) => {
    const record = await store.latestSynchrony(node);
    seen.add(node);
    if (record !== null) records.push(record);
  };
  await Promise.allSettled(frozen.filter((one) => one.complete).map(read));
  return { seen, guarantee: guaranteeOf(records, Math.max(0, ...frozen.map((one) => one.timeline))) };
}

/** The newest record's; a primary of a later timeline that left none may have acknowledged by any other. Pure. */
export function guaranteeOf(records: readonly SynchronyRecord[], timeline: number): readonly Quorum[] {
  const [newest] = [...records].sort((a, b) => b.epoch - a.epoch || b.version - a.version);
  if (newest === undefined) return [NOBODY];
  return newest.timeline < timeline ? [...newest.guarantee, NOBODY] : newest.guarantee;
}
