import type { Lsn } from '../core/lsn.ts';

/** A server as it began its present life: since its start, its last crash, or its promotion. */
export type Seen = {
  readonly node: string;
  readonly timeline: number;
  /** Of two lives with the same key it is one; with different ones it need not be two. */
  readonly key: string;
  /** A position that it had flushed to in this life: a crash does not take that away. */
  readonly lsn: Lsn;
  /** Its newest checkpoint, where that is the one it began with: position, and the first transaction id that it gave out itself. */
  readonly beginning: { readonly lsn: Lsn; readonly nextXid: bigint } | null;
};

export type Incarnation = Seen;

/** Lives that are remembered of each node. */
const KEPT = 20;

/** Which lives of each node were met, in that order. The only writer is `frontend`. */
export class Incarnations {
  readonly #lives = new Map<string, Incarnation[]>();

  /** @returns the life that was seen: one that is known, or another */
  note(seen: Seen): Incarnation {
    let lives = this.#lives.get(seen.node);
    if (lives === undefined) {
      lives = [];
      this.#lives.set(seen.node, lives);
    }
    const known = lives.find(({ key, timeline }) => key === seen.key && timeline === seen.timeline);
    if (known !== undefined) return known;
    const last = lives.at(-1);
    // what it began with is older than what it had flushed when it was last looked at
    const same = last !== undefined && last.timeline === seen.timeline && seen.beginning !== null;
    if (same && seen.beginning.lsn < last.lsn) return last;
    lives.push(Object.freeze(seen));
    if (lives.length > KEPT) lives.shift();
    return seen;
  }

  /** True when nothing is known of the node between the two. */
  follows(after: Incarnation, before: Incarnation): boolean {
    const lives = this.#lives.get(before.node) ?? [];
    const at = lives.indexOf(before);
    return at !== -1 && lives[at + 1] === after;
  }

  /** True when nothing is known of the node after that. */
  isLast(life: Incarnation): boolean {
    return this.#lives.get(life.node)?.at(-1) === life;
  }
}
