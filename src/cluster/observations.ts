import type { Failure, Observation } from './observation.ts';

/** What is known of one node from probing it. */
export type NodeRecord = {
  /** The last answer, however old. */
  readonly last: Observation | null;
  /** The failure after the last answer, or null while the node answers. */
  readonly failure: Failure | null;
  /** Monotonic milliseconds when the unbroken row of failures began; null while the node answers. */
  readonly failingSinceMs: number | null;
};

const NOTHING: NodeRecord = Object.freeze({ last: null, failure: null, failingSinceMs: null });

/** Table of observations. The only writer is `monitor`. */
export class Observations {
  readonly #records = new Map<string, NodeRecord>();
  readonly #listeners = new Set<(node: string) => void>();

  of(node: string): NodeRecord {
    return this.#records.get(node) ?? NOTHING;
  }

  record(seen: Observation): void {
    this.#records.set(seen.node, Object.freeze({ last: Object.freeze(seen), failure: null, failingSinceMs: null }));
    this.#tell(seen.node);
  }

  recordFailure(failure: Failure): void {
    const before = this.of(failure.node);
    const failingSinceMs = before.failingSinceMs ?? before.last?.finishedMs ?? failure.startedMs;
    this.#records.set(
      failure.node,
      Object.freeze({ last: before.last, failure: Object.freeze(failure), failingSinceMs }),
    );
    this.#tell(failure.node);
  }

  /** @returns the function that unsubscribes. Listeners run synchronously after each record. */
  subscribe(listener: (node: string) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #tell(node: string): void {
    for (const listener of this.#listeners) listener(node);
  }
}
