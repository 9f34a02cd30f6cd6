import type { ListenStep } from '../sql/verdict.ts';

type Change = Extract<ListenStep, { kind: 'listen' | 'unlisten' }>;

/** What was done since a savepoint was set, or since the transaction began (no name). */
type Level = { readonly savepoint: string | null; changes: Change[] };

/** LISTEN and UNLISTEN in a transaction: they take effect when it commits, and ROLLBACK TO undoes what came after the savepoint. */
export class PendingChannels {
  #levels: Level[] = [{ savepoint: null, changes: [] }];

  /** True when nothing is to be done at COMMIT. */
  get empty(): boolean {
    return this.#levels.every((level) => level.changes.length === 0);
  }

  note(step: ListenStep): void {
    switch (step.kind) {
      case 'listen':
      case 'unlisten':
        this.#levels.at(-1)?.changes.push(step);
        return;
      case 'savepoint':
        this.#levels.push({ savepoint: step.name, changes: [] });
        return;
      case 'release': {
        const at = this.#find(step.name);
        if (at === -1) return;
        const released = this.#levels.splice(at).flatMap((level) => level.changes);
        this.#levels.at(-1)?.changes.push(...released);
        return;
      }
      case 'rollback to': {
        const at = this.#find(step.name);
        if (at === -1) return;
        this.#levels.length = at + 1;
        (this.#levels[at] as Level).changes = [];
        return;
      }
      default:
        this.clear();
    }
  }

  /** The channels that are listened on when all of it has taken effect. */
  effectOn(channels: ReadonlySet<string>): Set<string> {
    const after = new Set(channels);
    for (const { changes } of this.#levels) {
      for (const change of changes) {
        if (change.kind === 'listen') after.add(change.name);
        else if (change.name === null) after.clear();
        else after.delete(change.name);
      }
    }
    return after;
  }

  clear(): void {
    this.#levels = [{ savepoint: null, changes: [] }];
  }

  /** The newest savepoint of that name; an older one is hidden by it. */
  #find(name: string): number {
    return this.#levels.findLastIndex((level) => level.savepoint === name);
  }
}
