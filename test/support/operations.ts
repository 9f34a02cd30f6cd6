/** Operator controls over a failover controller that only notes what it is asked for. */
import { OperatorControls } from '../../src/api/operator-controls.ts';
import type { Moved } from '../../src/api/sources.ts';
import type { Cluster } from '../../src/cluster/cluster.ts';
import type { SwitchoverWish } from '../../src/failover/controller.ts';
import type { SwitchoverPlan } from '../../src/failover/plan-switchover.ts';

export const PLAN: SwitchoverPlan = {
  ...{ possible: true, reason: null, from: 'pg1', to: 'pg2', choice: 'it was asked for' },
  vetoes: [{ node: 'pg3', reason: 'pg2 was asked for' }],
  ...{ transactions: { count: 1, oldestMs: 1200 }, behindBytes: 0, behindMs: 0, turned: ['pg3'], left: [] },
  ...{ demotion: 'agent', synchronous: null, pause: { leastMs: 300, mostMs: 5300 } },
  steps: [
    { step: 'hold', text: 'statements wait' },
    { step: 'promote', text: 'pg2 is promoted' },
  ],
};

export type Noted = { plan: SwitchoverPlan };

/** @param asked what was asked for is put at its end */
export function notedOperations(
  cluster: Cluster,
  move: (what: string) => Promise<Moved>,
  asked: string[],
  noted: Noted = { plan: PLAN },
): OperatorControls {
  const inWords = ({ to, waitMs }: SwitchoverWish = {}) =>
    `${to === undefined ? '' : ` ${to}`}${waitMs === undefined ? '' : ` wait ${waitMs}`}`;
  const put = (scheduled: Cluster['operator']['value']['scheduled']) =>
    cluster.operator.set(Object.freeze({ ...cluster.operator.value, scheduled }));
  return new OperatorControls(
    cluster,
    {
      switchover: (wish) => move(`switchover${inWords(wish)}`),
      failover: (allowed) => move(allowed ? 'failover allowing data loss' : 'failover'),
      planSwitchover: async (wish) => {
        asked.push(`plan${inWords(wish)}`);
        return noted.plan;
      },
      cancelSwitchover: async () => false,
    },
    {
      set: (wish, atMs) => {
        asked.push(`schedule${inWords(wish)}`);
        const scheduled = { atMs, to: wish.to ?? null, waitMs: wish.waitMs ?? null };
        put(scheduled);
        return scheduled;
      },
      cancel: () => {
        const { scheduled } = cluster.operator.value;
        put(null);
        return scheduled;
      },
    },
  );
}
