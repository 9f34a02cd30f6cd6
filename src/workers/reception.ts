import type { Config } from '../config/config.ts';
import { nowMs } from '../core/clock.ts';
import { Queue } from '../core/queue.ts';
import { Doors, openAll } from '../frontend/doors.ts';
import type { Bound } from '../plane/plane.ts';
import type { Arrival, Member } from './member.ts';

/** Clients on their way to the workers. */
export class Reception {
  readonly #members: () => readonly Member[];
  readonly #config: () => Config;
  readonly #doors = new Doors((socket, address, readOnly) => this.#entered({ socket, address, readOnly }), true);
  readonly #arrivals = new Queue<Arrival & { readonly cameMs: number }>();
  /** Who comes at the start waits for all workers: else the first would get them all. */
  #open = false;
  #closed: Promise<void> | null = null;

  /** @param members those that are ready */
  constructor(members: () => readonly Member[], config: () => Config) {
    this.#members = members;
    this.#config = config;
  }

  /** Clients that wait to be handed over. */
  get waiting(): number {
    return this.#arrivals.length;
  }

  /** @throws FairleadError port_taken, bad_config */
  listen(): Promise<Bound> {
    return openAll(this.#doors, this.#config());
  }

  /** Whether or not all workers are there. */
  open(): void {
    this.#open = true;
    this.handOver();
  }

  /** Something has changed with the workers. */
  handOver(): void {
    this.#open ||= this.#members().length === this.#config().workers;
    while (this.#open) {
      const prompt = this.#members().filter(({ receiving }) => receiving !== 'for long');
      const member = prompt.reduce<Member | null>((a, b) => (a === null || b.clients < a.clients ? b : a), null);
      if (member === null || member.receiving !== 'nobody') return;
      const arrival = this.#arrivals.shift();
      if (arrival === undefined) return;
      if (arrival.socket.destroyed) continue;
      const clients = this.#members().reduce((sum, one) => sum + one.clients, 1);
      member.receive(arrival, clients, () => this.handOver());
    }
  }

  /** Gives up clients that have waited longer than a login may take. */
  expire(): void {
    const beforeMs = nowMs() - this.#config().pool.startup_timeout;
    for (let first = this.#arrivals.peek(); first !== undefined && first.cameMs < beforeMs; ) {
      this.#arrivals.shift()?.socket.destroy();
      first = this.#arrivals.peek();
    }
  }

  /** Nobody comes in any more, and who waits is sent away. Resolves when no socket is left here. */
  close(): Promise<void> {
    this.#closed ??= this.#doors.close();
    for (const { socket } of this.#arrivals) socket.destroy();
    this.#arrivals.clear();
    return this.#closed;
  }

  #entered(arrival: Arrival): void {
    const { socket } = arrival;
    socket.on('error', () => {});
    if (this.#arrivals.length >= this.#config().pool.max_clients) return void socket.destroy();
    this.#arrivals.push({ ...arrival, cameMs: nowMs() });
    this.handOver();
  }
}
