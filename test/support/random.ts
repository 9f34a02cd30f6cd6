/** Random numbers that come again with the same seed. */
export type Random = {
  /** 0 to `below` - 1. */
  int(below: number): number;
  chance(probability: number): boolean;
  /** One to `most` of them, in any order, perhaps twice. */
  some<T>(of: readonly T[], most: number): T[];
};

/** mulberry32, by Tommy Ettinger, public domain. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (below: number) => Math.floor(next() * below);
  return {
    int,
    chance: (probability) => next() < probability,
    some: (of, most) => Array.from({ length: 1 + int(most) }, () => of[int(of.length)] as (typeof of)[number]),
  };
}
