/** A replication slot of the primary. */
export type Slot = {
  readonly name: string;
  readonly kind: 'physical' | 'logical';
  readonly active: boolean;
  readonly pid: number | null;
  /** `wal_status`: reserved, extended, unreserved or lost. */
  readonly status: string | null;
  /** WAL that can still be written before it may lose some; null: however much, or it is lost. */
  readonly safeBytes: number | null;
  /** WAL that is kept for it; null when it is lost, or was never used. */
  readonly keptBytes: number | null;
};

export type SlotLimits = { readonly warnAtBytes: number; readonly dropAtBytes: number | null };

export type Verdict = 'fine' | 'keeps much' | 'about to lose' | 'lost' | 'drop' | 'end its reader';

/** Slots of Fairlead's own logical stream (`replication/stream`): temporary, so they go with their connection. */
const OURS = /^fairlead_[0-9a-f]{12}$/;

/**
 * What is to be done about a slot. Dropped is what nobody uses and what can be had again: a follower's that is away; a follower without its
 * slot has to be cloned. Of our own stream the connection is ended, it begins anew. What others read is theirs. Pure.
 */
export function judgeSlot(slot: Slot, { warnAtBytes, dropAtBytes }: SlotLimits): Verdict {
  const { kind, active, status, safeBytes, keptBytes } = slot;
  if (status === 'lost') return 'lost';
  if (keptBytes === null) return 'fine';
  if (dropAtBytes !== null && keptBytes > dropAtBytes) {
    if (kind === 'physical' && !active) return 'drop';
    if (active && OURS.test(slot.name)) return 'end its reader';
  }
  // beyond half of max_slot_wal_keep_size; below max_wal_size the WAL is there anyway ("reserved")
  const halfway = status === 'extended' && safeBytes !== null && safeBytes < keptBytes;
  if (status === 'unreserved' || halfway) return 'about to lose';
  return keptBytes > warnAtBytes ? 'keeps much' : 'fine';
}
