import type { Quorum } from '../../cluster/synchrony.ts';
import type { SynchronyRecord } from '../../store/records.ts';
import { NOBODY } from './quorum.ts';

/** What is known of the commits of the primary in charge. Frozen. */
export type Memory = {
  readonly primary: string;
  readonly epoch: number;
  readonly timeline: number;
  readonly guarantee: readonly Quorum[];
  /** Of the record. */
  readonly version: number;
  /** The guarantee is in the store, under this epoch. */
  readonly recorded: boolean;
};

export type InCharge = Pick<Memory, 'primary' | 'epoch' | 'timeline'>;

/**
 * Goes on from what the primary's store says. A record of an older timeline came along with a promotion that nobody could write down:
 * what was acknowledged since is where the setting says that the promoted one had. Pure.
 * @param setting the quorum of `synchronous_standby_names` as it is; null: it guarantees nothing that we know
 */
export function memoryFrom(inCharge: InCharge, record: SynchronyRecord | null, setting: Quorum | null): Memory {
  const { primary, epoch, timeline } = inCharge;
  const current = record !== null && record.timeline === timeline;
  const since = current || record === null ? [] : [setting ?? NOBODY];
  return Object.freeze({
    ...{ primary, epoch, timeline },
    guarantee: [...(record?.guarantee ?? [NOBODY]), ...since],
    version: record?.epoch === epoch ? record.version : 0,
    recorded: current && record.epoch === epoch,
  });
}
