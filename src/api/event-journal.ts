import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { ClusterEvent, EventSource } from './sources.ts';

const KEEP = 500;
const LOAD_TIMEOUT_MS = 1000;
/** The same event may carry the time it was noticed here and the time it was stored there. */
const SAME_WITHIN_MS = 2000;

/**
 * Events of this run in memory, those of earlier runs from the store. While there is no primary, which is when people look, the
 * store may not answer: then the list holds what happened since the start.
 */
export class EventJournal implements EventSource {
  readonly #load: (limit: number) => Promise<readonly ClusterEvent[]>;
  readonly #log: Log;
  /** Newest first. */
  #recent: readonly ClusterEvent[] = [];
  readonly #listeners = new Set<(event: ClusterEvent) => void>();

  /** @param load newest first, from the store; may reject or hang. */
  constructor(load: (limit: number) => Promise<readonly ClusterEvent[]>, log: Log) {
    this.#load = load;
    this.#log = log;
  }

  /** Something happened; writing it to the store is somebody else's part. */
  publish(event: ClusterEvent): void {
    this.#recent = [event, ...this.#recent].slice(0, KEEP);
    for (const listener of this.#listeners) listener(event);
  }

  subscribe(listener: (event: ClusterEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  async list(limit: number): Promise<readonly ClusterEvent[]> {
    const stored = await this.#stored(limit);
    const recent = this.#recent;
    const older = stored.filter((event) => !recent.some((known) => isSame(event, known)));
    return [...recent, ...older].sort((a, b) => b.atMs - a.atMs).slice(0, limit);
  }

  async #stored(limit: number): Promise<readonly ClusterEvent[]> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${LOAD_TIMEOUT_MS} ms`)), LOAD_TIMEOUT_MS);
    });
    try {
      return await Promise.race([this.#load(limit), late]);
    } catch (error) {
      this.#log.debug({ reason: messageOf(error) }, 'stored events are not available');
      return [];
    } finally {
      clearTimeout(timer);
    }
  }
}

function isSame(a: ClusterEvent, b: ClusterEvent): boolean {
  if (a.id === b.id) return true;
  if (a.kind !== b.kind || a.epoch !== b.epoch || a.node !== b.node) return false;
  return Math.abs(a.atMs - b.atMs) < SAME_WITHIN_MS;
}
