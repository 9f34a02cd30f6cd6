/** `/api/stream`: the state as server-sent events. Everything is a snapshot, so a consumer that is slow misses some and stays right. */
import type { Request, Response } from 'express';
import { messageOf } from '../core/errors.ts';
import { lagNow } from './cluster-routes.ts';
import { clusterView } from './cluster-view.ts';
import { eventView } from './history-routes.ts';
import type { HoldClock } from './hold-clock.ts';
import { sendProblem } from './problem.ts';
import type { ApiDependencies, ClusterEvent } from './sources.ts';
import { trafficView } from './traffic-routes.ts';

type Dependencies = Pick<
  ApiDependencies,
  'cluster' | 'traffic' | 'events' | 'pools' | 'sessions' | 'replication' | 'refresh' | 'log'
>;

const TICK_MS = 500;
const MOST_CONSUMERS = 64;
/** A consumer that has read nothing for so long is let go. */
const BLOCKED_MS = 30_000;
const EVENTS_SHOWN = 50;

type Consumer = {
  readonly response: Response;
  /** Ticks since its socket took no more; 0 while it flows. */
  blockedTicks: number;
  /** An event fell out while it was blocked: it gets the whole list again. */
  missedEvents: boolean;
};

export class EventStream {
  readonly #deps: Dependencies;
  readonly #hold: HoldClock;
  readonly #consumers = new Set<Consumer>();
  #tick = 0;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;
  #unsubscribes: (() => void)[] = [];

  constructor(deps: Dependencies, hold: HoldClock) {
    this.#deps = deps;
    this.#hold = hold;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#onTick(), TICK_MS).unref();
    this.#unsubscribes = [
      this.#deps.cluster.topology.subscribe(() => this.#changed()),
      this.#deps.events.subscribe((event) => this.#happened(event)),
    ];
  }

  /** Ends every stream: consumers reconnect by themselves. */
  stop(): void {
    clearInterval(this.#timer);
    clearImmediate(this.#soon);
    this.#timer = undefined;
    this.#soon = undefined;
    for (const unsubscribe of this.#unsubscribes) unsubscribe();
    for (const consumer of this.#consumers) consumer.response.end();
    this.#consumers.clear();
  }

  get consumers(): number {
    return this.#consumers.size;
  }

  /** Handler of GET /api/stream. */
  open(request: Request, response: Response): void {
    if (this.#consumers.size >= MOST_CONSUMERS) {
      sendProblem(response, 503, `${MOST_CONSUMERS} streams are open`, 'close some, or poll /api/cluster');
      return;
    }
    response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8', Connection: 'keep-alive' });
    const consumer: Consumer = { response, blockedTicks: 0, missedEvents: false };
    response.on('close', () => this.#consumers.delete(consumer));
    response.on('drain', () => this.#drained(consumer));
    request.socket.setNoDelay(true);
    this.#consumers.add(consumer);
    this.#send(consumer, `retry: 1000\n\n${this.#cluster()}${this.#lag()}${this.#traffic()}`);
    this.#sendEvents(consumer).catch(() => {});
  }

  #onTick(): void {
    if (this.#consumers.size === 0) return;
    this.#tick++;
    if (this.#tick % 2 === 0) void this.#everything();
    else this.#broadcast(this.#lag());
    for (const consumer of this.#consumers) {
      if (consumer.blockedTicks === 0) continue;
      consumer.blockedTicks++;
      if (consumer.blockedTicks * TICK_MS > BLOCKED_MS) consumer.response.destroy();
    }
  }

  async #everything(): Promise<void> {
    await this.#deps.refresh();
    this.#broadcast(this.#cluster() + this.#lag() + this.#traffic());
  }

  /** Many changes in one turn are one message. */
  #changed(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      if (this.#consumers.size > 0) this.#broadcast(this.#cluster());
    });
  }

  #happened(event: ClusterEvent): void {
    const text = message('event', eventView(event));
    for (const consumer of this.#consumers) if (!this.#send(consumer, text)) consumer.missedEvents = true;
  }

  #broadcast(text: string): void {
    for (const consumer of this.#consumers) this.#send(consumer, text);
  }

  /** @returns false when the consumer is behind and did not get it: nothing is queued for it. */
  #send(consumer: Consumer, text: string): boolean {
    if (consumer.blockedTicks > 0) return false;
    if (!consumer.response.write(text)) consumer.blockedTicks = 1;
    return true;
  }

  #drained(consumer: Consumer): void {
    consumer.blockedTicks = 0;
    if (!consumer.missedEvents) return;
    consumer.missedEvents = false;
    this.#sendEvents(consumer).catch(() => {});
  }

  async #sendEvents(consumer: Consumer): Promise<void> {
    try {
      const events = await this.#deps.events.list(EVENTS_SHOWN);
      if (this.#consumers.has(consumer)) this.#send(consumer, message('events', events.map(eventView)));
    } catch (error) {
      this.#deps.log.warn({ reason: messageOf(error) }, 'events are not available');
    }
  }

  #cluster(): string {
    return message('cluster', clusterView(this.#deps.cluster, this.#deps.replication.state.value, this.#hold.value));
  }

  #lag(): string {
    return message('lag', lagNow(this.#deps.cluster));
  }

  #traffic(): string {
    return message('traffic', trafficView(this.#deps));
  }
}

function message(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
