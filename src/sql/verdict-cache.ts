import type { Catalog } from './catalog.ts';
import type { LiteralKey } from './literal-key.ts';
import type { Verdict } from './verdict.ts';

export type CacheEntry = {
  readonly key: Buffer;
  readonly hash: number;
  readonly catalog: Catalog | null;
  readonly verdict: Verdict;
  /** Another key with the same hash. */
  next: CacheEntry | undefined;
};

/**
 * Bounded, in two generations: a hit in the old one moves the entry to the young one, and a full young generation
 * becomes the old one. What was not used during a whole generation is gone. Keys are compared byte by byte.
 */
export class VerdictCache {
  readonly #generationSize: number;
  #young = new Map<number, CacheEntry>();
  #old = new Map<number, CacheEntry>();
  #youngCount = 0;
  #oldCount = 0;

  constructor(maxEntries: number) {
    this.#generationSize = Math.max(1, maxEntries >> 1);
  }

  get size(): number {
    return this.#youngCount + this.#oldCount;
  }

  get(key: LiteralKey): CacheEntry | undefined {
    for (let entry = this.#young.get(key.hash); entry !== undefined; entry = entry.next) {
      if (key.equals(entry.key)) return entry;
    }
    for (let entry = this.#old.get(key.hash); entry !== undefined; entry = entry.next) {
      if (!key.equals(entry.key)) continue;
      this.#push({ ...entry, next: undefined });
      return entry;
    }
    return undefined;
  }

  /** Adds, or replaces what the key had: the newest comes first in its chain. */
  set(key: LiteralKey, catalog: Catalog | null, verdict: Verdict): void {
    for (
      let entry = this.#young.get(key.hash), before: CacheEntry | undefined;
      entry !== undefined;
      entry = entry.next
    ) {
      if (key.equals(entry.key)) {
        if (before !== undefined) before.next = entry.next;
        else if (entry.next !== undefined) this.#young.set(key.hash, entry.next);
        else this.#young.delete(key.hash);
        this.#youngCount--;
        break;
      }
      before = entry;
    }
    this.#push({ key: key.copy(), hash: key.hash, catalog, verdict, next: undefined });
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngCount = 0;
    this.#oldCount = 0;
  }

  #push(entry: CacheEntry): void {
    if (this.#youngCount >= this.#generationSize) {
      this.#old = this.#young;
      this.#oldCount = this.#youngCount;
      this.#young = new Map();
      this.#youngCount = 0;
    }
    entry.next = this.#young.get(entry.hash);
    this.#young.set(entry.hash, entry);
    this.#youngCount++;
  }
}
