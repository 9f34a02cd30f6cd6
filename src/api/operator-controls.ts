import type { Cluster } from '../cluster/cluster.ts';
import type { OperatorIntent, ScheduledSwitchover } from '../cluster/operator.ts';
import { FairleadError } from '../core/errors.ts';
import type { SwitchoverWish } from '../failover/controller.ts';
import type { SwitchoverPlan } from '../failover/plan-switchover.ts';
import type { Cancelled, Moved, Operations } from './sources.ts';

/** The part of the failover controller that operators reach. */
export type FailoverControls = {
  switchover(wish?: SwitchoverWish): Promise<Moved>;
  planSwitchover(wish?: SwitchoverWish): Promise<SwitchoverPlan>;
  /** @returns false when none is under way. @throws FairleadError when it is too late */
  cancelSwitchover(): Promise<boolean>;
  failover(allowDataLoss?: boolean): Promise<Moved>;
};

/** Where switchovers are put that shall be made later. */
export type ScheduleControls = {
  set(wish: SwitchoverWish, atMs: number): ScheduledSwitchover;
  cancel(): ScheduledSwitchover | null;
};

/** What operators may ask for: planned and forced moves go to the controller, pause and drain into the model. */
export class OperatorControls implements Operations {
  readonly #cluster: Cluster;
  readonly #failover: FailoverControls;
  readonly #schedule: ScheduleControls;

  constructor(cluster: Cluster, failover: FailoverControls, schedule: ScheduleControls) {
    this.#cluster = cluster;
    this.#failover = failover;
    this.#schedule = schedule;
  }

  switchover(wish: SwitchoverWish = {}): Promise<Moved> {
    return this.#failover.switchover(wish);
  }

  planSwitchover(wish: SwitchoverWish = {}): Promise<SwitchoverPlan> {
    return this.#failover.planSwitchover(wish);
  }

  scheduleSwitchover(wish: SwitchoverWish, atMs: number): ScheduledSwitchover {
    if (wish.to !== undefined) this.#known(wish.to);
    return this.#schedule.set(wish, atMs);
  }

  async cancelSwitchover(): Promise<Cancelled> {
    const underWay = await this.#failover.cancelSwitchover();
    const scheduled = this.#schedule.cancel();
    if (scheduled !== null || underWay) return { scheduled, underWay };
    throw new FairleadError('refused', 'no switchover is scheduled or under way', 'there is nothing to cancel');
  }

  failover(allowDataLoss = false): Promise<Moved> {
    return this.#failover.failover(allowDataLoss);
  }

  pause(database?: string): void {
    const { pausedDatabases } = this.#cluster.operator.value;
    this.#set(database === undefined ? { paused: true } : { pausedDatabases: new Set([...pausedDatabases, database]) });
  }

  resume(database?: string): void {
    const { pausedDatabases } = this.#cluster.operator.value;
    if (database === undefined) this.#set({ paused: false, pausedDatabases: new Set() });
    else this.#set({ pausedDatabases: without(pausedDatabases, database) });
  }

  withdrawPause(database?: string): void {
    if (database === undefined) this.#set({ paused: false });
    else this.resume(database);
  }

  allow(database: string, allowed: boolean): void {
    const { disabledDatabases } = this.#cluster.operator.value;
    this.#set({
      disabledDatabases: allowed ? without(disabledDatabases, database) : new Set([...disabledDatabases, database]),
    });
  }

  /** @throws FairleadError `refused` for a node that is not configured. */
  drain(node: string): void {
    this.#known(node);
    this.#set({ drained: new Set([...this.#cluster.operator.value.drained, node]) });
  }

  undrain(node: string): void {
    this.#known(node);
    this.#set({ drained: without(this.#cluster.operator.value.drained, node) });
  }

  #known(node: string): void {
    if (this.#cluster.nodes.some((n) => n.name === node)) return;
    throw new FairleadError('refused', `there is no node ${node}`, 'GET /api/cluster lists the nodes');
  }

  #set(change: Partial<OperatorIntent>): void {
    this.#cluster.operator.set(Object.freeze({ ...this.#cluster.operator.value, ...change }));
  }
}

function without(names: ReadonlySet<string>, name: string): ReadonlySet<string> {
  return new Set([...names].filter((n) => n !== name));
}
