import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { StoredEvent } from '../store/records.ts';
import { clusterEventOf } from './cluster-event.ts';
import type { ClusterEvent, EventSource } from './sources.ts';
import { within } from './within.ts';

const KEEP = 500;
const LOAD_TIMEOUT_MS = 1000;

/** What is asked of the store. */
export type StoredEvents = {
  /** Newest first. May hang as long as the primary does. */
  listEvents(limit: number): Promise<readonly StoredEvent[]>;
  subscribe(listener: (event: StoredEvent) => void): () => void;
};

/** Events for people: the store's, and while its primary hangs, which is when people look, those of this run from memory. */
export class EventJournal implements EventSource {
  readonly #store: StoredEvents;
  readonly #log: Log;
  /** Newest first. */
  #recent: readonly ClusterEvent[] = [];
  readonly #listeners = new Set<(event: ClusterEvent) => void>();
  #unsubscribe: () => void = () => {};

  constructor(store: StoredEvents, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  start(): void {
    this.#unsubscribe = this.#store.subscribe((stored) => {
      const event = clusterEventOf(stored);
      this.#recent = [event, ...this.#recent].slice(0, KEEP);
      for (const listener of this.#listeners) listener(event);
    });
  }

  stop(): void {
    this.#unsubscribe();
  }

  subscribe(listener: (event: ClusterEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  async list(limit: number): Promise<readonly ClusterEvent[]> {
    try {
      const stored = await within(this.#store.listEvents(limit), LOAD_TIMEOUT_MS);
      return stored.map(clusterEventOf);
    } catch (error) {
      this.#log.debug({ reason: messageOf(error) }, 'stored events are not available');
      return this.#recent.slice(0, limit);
    }
  }
}
