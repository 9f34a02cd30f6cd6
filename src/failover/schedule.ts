/**
 * A switchover that shall be made at some time. It is kept as an event in schema fairlead, so that a restart of Fairlead finds it again; there is
 * one at most.
 */
import type { Cluster } from '../cluster/cluster.ts';
import type { ScheduledSwitchover } from '../cluster/operator.ts';
import { type Config, followsOthers } from '../config/config.ts';
import { wallMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { SwitchoverWish } from './controller.ts';

const TICK_MS = 200;
/** The newest of these says whether one is scheduled. */
const KINDS = ['switchover-scheduled', 'switchover-cancelled', 'switchover-due', 'switchover-missed'] as const;

type Kind = (typeof KINDS)[number];

export type ScheduleDeps = {
  readonly config: Config;
  readonly log: Log;
  readonly store: {
    /** The newest event of these kinds that `node` has on record. @throws when it does not answer */
    latestEvent(
      node: string,
      kinds: readonly string[],
    ): Promise<{ readonly kind: string; readonly detail: object } | null>;
  };
  event(kind: string, message: string, detail: { readonly node: string | null }): void;
  /** @throws FairleadError with the reason why it is not made */
  switchover(wish: SwitchoverWish): Promise<unknown>;
};

export class Schedule {
  readonly #cluster: Cluster;
  readonly #deps: ScheduleDeps;
  #timer: NodeJS.Timeout | undefined;
  /** Whether what an earlier run was told has been looked for. */
  #restored: 'no' | 'reading' | 'yes' = 'no';
  #running: Promise<void> = Promise.resolve();

  constructor(cluster: Cluster, deps: ScheduleDeps) {
    this.#cluster = cluster;
    this.#deps = deps;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref();
  }

  /** What is scheduled is found again by the next run. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  /** @param atMs wall clock. @throws FairleadError `refused` */
  set(wish: SwitchoverWish, atMs: number): ScheduledSwitchover {
    const refuse = (reason: string, remedy: string) => new FairleadError('refused', reason, remedy);
    const { mode } = this.#deps.config.failover;
    if (followsOthers(this.#deps.config)) throw refuse(`failover.mode is ${mode}`, 'set it to automatic or manual');
    if (atMs <= wallMs()) throw refuse(`${timeOf(atMs)} is over`, 'name a time that is to come');
    const before = this.#scheduled;
    if (before !== null) {
      throw refuse(`a switchover is scheduled already, for ${timeOf(before.atMs)}`, '`fairlead switchover --cancel`');
    }
    const { to = null, waitMs = null } = wish;
    const scheduled = Object.freeze({ atMs, to, waitMs });
    this.#restored = 'yes';
    this.#put(scheduled);
    this.#tell('switchover-scheduled', `a switchover${inWords(scheduled)} is scheduled for ${timeOf(atMs)}`, scheduled);
    return scheduled;
  }

  /** @returns what was scheduled; null: nothing was. @throws FairleadError `refused` while that is not known */
  cancel(): ScheduledSwitchover | null {
    const scheduled = this.#scheduled;
    if (scheduled === null && this.#restored === 'reading')
      throw new FairleadError('refused', 'it is not known yet what is scheduled', 'try again in a moment');
    if (scheduled === null) return null;
    this.#put(null);
    const message = `an operator cancelled the switchover${inWords(scheduled)} of ${timeOf(scheduled.atMs)}`;
    this.#tell('switchover-cancelled', message, scheduled);
    return scheduled;
  }

  get #scheduled(): ScheduledSwitchover | null {
    return this.#cluster.operator.value.scheduled;
  }

  #tick(): void {
    const { primary, phase } = this.#cluster.assignment.value;
    if (this.#restored === 'no' && primary !== null && phase === 'steady') this.#running = this.#restore(primary);
    const scheduled = this.#scheduled;
    if (scheduled === null || wallMs() < scheduled.atMs) return;
    this.#put(null);
    this.#tell('switchover-due', `the time of the switchover${inWords(scheduled)} has come`, scheduled);
    const { to, waitMs } = scheduled;
    this.#deps.switchover({ ...(to === null ? {} : { to }), ...(waitMs === null ? {} : { waitMs }) }).catch((error) => {
      const message = `the switchover of ${timeOf(scheduled.atMs)} was not made, and is not tried again: ${messageOf(error)}`;
      this.#deps.event('switchover-refused', message, { node: to });
    });
  }

  async #restore(primary: string): Promise<void> {
    this.#restored = 'reading';
    const { store, log, config } = this.#deps;
    try {
      const last = followsOthers(config) ? null : await store.latestEvent(primary, KINDS);
      // somebody may have scheduled one meanwhile
      if (this.#restored !== 'reading') return;
      this.#restored = 'yes';
      if (last?.kind !== 'switchover-scheduled') return;
      const scheduled = scheduledIn(last.detail);
      if (scheduled === null) return;
      if (scheduled.atMs > wallMs()) return this.#put(scheduled);
      const message = `Fairlead did not run at ${timeOf(scheduled.atMs)}: the switchover of that time is not made`;
      this.#tell('switchover-missed', message, scheduled);
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'it is not known yet whether a switchover is scheduled');
      if (this.#restored === 'reading') this.#restored = 'no';
    }
  }

  #put(scheduled: ScheduledSwitchover | null): void {
    this.#cluster.operator.set(Object.freeze({ ...this.#cluster.operator.value, scheduled }));
  }

  #tell(kind: Kind, message: string, { atMs, to, waitMs }: ScheduledSwitchover): void {
    const detail = { node: to, scheduledFor: timeOf(atMs), waitMs };
    this.#deps.event(kind, message, detail);
  }
}

function scheduledIn(detail: object): ScheduledSwitchover | null {
  const { node, scheduledFor, waitMs } = detail as Record<string, unknown>;
  const atMs = Date.parse(String(scheduledFor));
  if (Number.isNaN(atMs)) return null;
  return Object.freeze({
    atMs,
    to: typeof node === 'string' ? node : null,
    waitMs: typeof waitMs === 'number' ? waitMs : null,
  });
}

function timeOf(atMs: number): string {
  return new Date(atMs).toISOString();
}

function inWords({ to }: ScheduledSwitchover): string {
  return to === null ? '' : ` to ${to}`;
}
