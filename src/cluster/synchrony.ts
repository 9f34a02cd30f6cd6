/** A promise about every acknowledged commit: at least `copies` of `nodes` have flushed it. */
export type Quorum = { readonly copies: number; readonly nodes: readonly string[] };

/**
 * | state | meaning |
 * |---|---|
 * | unknown | nothing was read from this primary yet |
 * | changing | the setting is on its way to what is wanted; the guarantee named is the one that holds meanwhile |
 * | confirmed | every acknowledged commit has as many copies as are configured |
 * | degraded | it has fewer, or none: there are not enough healthy followers, and `degrade: async` lets commits go on |
 * | blocked | there are not enough healthy followers, and commits wait for them |
 */
export type SynchronyState = 'unknown' | 'changing' | 'confirmed' | 'degraded' | 'blocked';

/** `sync` and `quorum`: counted, it has everything up to the change that took it in; `failing`: counted, and does not acknowledge. */
export type NodeSynchrony = 'sync' | 'quorum' | 'failing' | 'joining' | 'async';

/** How commits are made safe, as Fairlead keeps it. Frozen; replaced, never edited. */
export type Synchrony = {
  readonly mode: 'sync' | 'quorum';
  readonly copies: number;
  readonly degrade: 'block' | 'async';
  readonly state: SynchronyState;
  /** One sentence for people. */
  readonly reason: string;
  /** `synchronous_standby_names` of the primary as last read; null: not read yet. */
  readonly setting: string | null;
  /** Every acknowledged commit is where at least one of these says; null: not known. */
  readonly guarantee: readonly Quorum[] | null;
  readonly nodes: ReadonlyMap<string, NodeSynchrony>;
};
