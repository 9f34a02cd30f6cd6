/** Something that only a living server does, seen elsewhere than in an answer to a probe. */
export type LifeSign = {
  /** Monotonic milliseconds of our clock. */
  readonly atMs: number;
  /** For people: what it did. */
  readonly what: string;
};

/**
 * Last signs of life beside the probes: late answers, what the logical stream brought. Bytes that a server process sent count; what a
 * kernel acknowledges for a process that is frozen does not.
 */
export class LifeSigns {
  readonly #signs = new Map<string, LifeSign>();

  of(node: string): LifeSign | null {
    return this.#signs.get(node) ?? null;
  }

  note(node: string, atMs: number, what: string): void {
    const before = this.#signs.get(node);
    if (before === undefined || before.atMs <= atMs) this.#signs.set(node, Object.freeze({ atMs, what }));
  }
}
