import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MarkKind } from '../../../src/cluster/mark.ts';
import { decide } from '../../../src/failover/decide.ts';
import { overtakenBy } from '../../../src/failover/lost-candidates.ts';
import { INITIAL, type Outcome, type State } from '../../../src/failover/state.ts';
import type { View } from '../../../src/failover/view.ts';
import { at, dead, frozen, NOW, node, orphan, PLAN, RECEIVER, STEADY, SUSPECT, SYSTEM, seen, view } from './fixture.ts';

/** Decides until nothing changes; outcome and request are seen once, as in the controller. */
function settle(state: State, first: View): { state: State; kinds: string[]; reasons: string[] } {
  const kinds: string[] = [];
  const reasons: string[] = [];
  let now = state;
  let current = first;
  for (let i = 0; i < 10; i++) {
    const decision = decide(now, current, NOW);
    for (const action of decision.actions) {
      kinds.push(action.kind === 'event' ? `event ${action.name}` : action.kind);
      if (action.kind === 'refuse') reasons.push(action.reason);
    }
    if (decision.state.phase === now.phase && decision.state.work === now.work)
      return { state: decision.state, kinds, reasons };
    now = decision.state;
    current = { ...current, outcome: null, request: null, lateMs: 0 };
  }
  throw new Error('goes in circles');
}

/** A replica as a change of primary leaves it that was broken off. */
const held = (name: string, kind: MarkKind, epoch = 7) =>
  orphan(name, 1000, { seen: seen(name, { receiver: null, mark: { kind, epoch, timeline: 1, detail: '' } }) });

/** Orphaned, in a run of its server that began then. */
const lone = (name: string, startedAt: number) => seen(name, { receiver: null, startedAt });
const HALTED_AFTER_LOSS: State = {
  ...{ ...SUSPECT, phase: 'halted', primary: null, sinceMs: NOW - 5000, epoch: 2 },
  fenced: new Map([['pg2', { sinceEpoch: 2, reason: 'lost during promotion', toldRun: 100 }]]),
};

type Case = {
  readonly name: string;
  readonly state: State;
  readonly view: View;
  readonly phase: State['phase'];
  readonly primary: string | null;
  readonly reason?: RegExp;
  readonly does?: readonly string[];
};

const REPLICAS = [node('pg2'), node('pg3')];
const ORPHANS = [orphan('pg2'), orphan('pg3', 990)];
const FENCING: State = { ...SUSPECT, phase: 'fencing', primary: null, epoch: 2, plan: PLAN, work: 'freeze' };
const ELECTING: State = {
  ...FENCING,
  phase: 'electing',
  work: null,
  plan: { ...PLAN, frozen: [frozen('pg2', 1000), frozen('pg3', 990)] },
};
const PROMOTING: State = { ...ELECTING, phase: 'promoting', work: 'promote' };
const AFTER: State = {
  ...STEADY,
  epoch: 2,
  primary: 'pg2',
  former: 'pg2',
  timeline: 2,
  forks: [{ timeline: 2, parentTimeline: 1, forkLsn: at(1000), epoch: 2 }],
};
const NEW_PRIMARY = node('pg2', { seen: seen('pg2', { role: 'primary', timeline: 2, receiver: null }) });
const FOLLOWER = node('pg3', { seen: seen('pg3', { timeline: 2 }) });
const STOPPED: Outcome = { work: 'freeze', frozen: [frozen('pg2', 1000), frozen('pg3', 990)], alive: null };

const CASES: readonly Case[] = [
  {
    name: 'all is well',
    state: STEADY,
    view: view([node('pg1'), ...REPLICAS]),
    phase: 'steady',
    primary: 'pg1',
    does: [],
  },
  {
    name: '1: kill -9, back before the timeout: nothing happens',
    state: STEADY,
    view: view([dead('pg1', { aliveMs: NOW - 2900 }), ...ORPHANS]),
    phase: 'steady',
    primary: 'pg1',
    does: [],
  },
  {
    name: '1: kill -9, silent for the timeout, replicas have lost it: given up in one go',
    state: STEADY,
    view: view([dead('pg1'), ...ORPHANS]),
    phase: 'fencing',
    primary: null,
    does: ['event suspect', 'event fencing', 'freeze'],
  },
  {
    name: '3: a hanging primary whose receivers were silent for longer than they tolerate',
    state: STEADY,
    view: view([
      dead('pg1', { failure: { kind: 'hung', message: 'no answer' } }),
      orphan('pg2', 1000, { seen: seen('pg2', { receiver: { ...RECEIVER, silentMs: 2001 } }) }),
      orphan('pg3'),
    ]),
    phase: 'fencing',
    primary: null,
  },
  {
    name: '5: only Fairlead is cut off: the replicas still stream',
    state: STEADY,
    view: view([dead('pg1'), ...REPLICAS]),
    phase: 'suspect',
    primary: 'pg1',
    reason: /pg2 still receives WAL from pg1: only Fairlead is cut off/,
  },
  {
    name: '5: one that still streams is enough to refrain',
    state: SUSPECT,
    view: view([dead('pg1'), orphan('pg2'), node('pg3')]),
    phase: 'suspect',
    primary: 'pg1',
    reason: /pg3 still receives/,
  },
  {
    name: '5: a role that may not read the receiver’s status cannot confirm a death',
    state: SUSPECT,
    view: view([
      dead('pg1'),
      orphan('pg2', 1000, { seen: seen('pg2', { receiver: { ...RECEIVER, status: 'hidden' } }) }),
    ]),
    phase: 'suspect',
    primary: 'pg1',
  },
  {
    name: '6: primary cut off from its replicas, but not from Fairlead',
    state: STEADY,
    view: view([node('pg1'), ...ORPHANS]),
    phase: 'steady',
    primary: 'pg1',
  },
  {
    name: '7: cut off from one replica only',
    state: STEADY,
    view: view([node('pg1'), node('pg2'), orphan('pg3')]),
    phase: 'steady',
    primary: 'pg1',
  },
  {
    name: '7: a replica that had lost the primary long before is no witness',
    state: SUSPECT,
    view: view([dead('pg1'), orphan('pg2', 1000, { streamedMs: null })]),
    phase: 'suspect',
    primary: 'pg1',
    reason: /no replica that answers was streaming from pg1 before/,
  },
  {
    name: 'an answer of a replica from before the primary’s last one proves nothing',
    state: SUSPECT,
    view: view([dead('pg1'), orphan('pg2', 1000, { seen: seen('pg2', { receiver: null, startedMs: NOW - 3500 }) })]),
    phase: 'suspect',
    primary: 'pg1',
    reason: /pg2 was not asked since pg1 last answered/,
  },
  {
    name: 'no replica answers',
    state: SUSPECT,
    view: view([dead('pg1'), dead('pg2'), dead('pg3')]),
    phase: 'suspect',
    primary: 'pg1',
    reason: /no replica answers that could confirm/,
  },
  {
    name: '22: a cascading replica streams from its upstream: that says nothing about the primary',
    state: SUSPECT,
    view: view([
      dead('pg1'),
      orphan('pg2'),
      node('pg3', { seen: seen('pg3', { receiver: { ...RECEIVER, senderPort: 5002 } }) }),
    ]),
    phase: 'fencing',
    primary: null,
  },
  {
    name: '15: dead, but the best replica is too far behind: halted, held, with the reason',
    state: SUSPECT,
    view: view([dead('pg1'), orphan('pg2', 800), orphan('pg3', 700)]),
    phase: 'halted',
    primary: null,
    reason: /up to 200 bytes would be lost/,
  },
  {
    name: '24: a flapping cluster is left to people',
    state: { ...SUSPECT, promotionsMs: [NOW - 5, NOW - 4, NOW - 3, NOW - 2, NOW - 1] },
    view: view([dead('pg1'), ...ORPHANS]),
    phase: 'suspect',
    primary: 'pg1',
    reason: /5 promotions within 10 minutes/,
  },
  {
    name: 'manual: says that it is dead and waits for an operator',
    state: SUSPECT,
    view: view([dead('pg1'), ...ORPHANS], { mode: 'manual' }),
    phase: 'suspect',
    primary: 'pg1',
    reason: /pg1 is dead .*failover.mode is manual/,
  },
  {
    name: '42: our own standstill is nobody’s death: the clock starts again',
    state: STEADY,
    view: view([dead('pg1'), ...ORPHANS], { lateMs: 1500 }),
    phase: 'steady',
    primary: 'pg1',
  },
  {
    name: '44: too many clients is not dead',
    state: STEADY,
    view: view([dead('pg1', { failure: { kind: 'too_many', message: '53300' }, aliveMs: NOW - 10 }), ...ORPHANS]),
    phase: 'steady',
    primary: 'pg1',
  },
  {
    name: '45: a refused login is not dead',
    state: SUSPECT,
    view: view([
      dead('pg1', { failure: { kind: 'auth', message: '28P01' }, condition: 'refusing', aliveMs: NOW - 10 }),
      ...ORPHANS,
    ]),
    phase: 'steady',
    primary: 'pg1',
    reason: /pg1 is alive and does not let Fairlead in: 28P01/,
  },
  {
    name: 'nothing listens for as long as a quick restart takes: dead before the timeout',
    state: STEADY,
    view: view([dead('pg1', { refusedSinceMs: NOW - 1010, refusedUntilMs: NOW, aliveMs: NOW - 1200 }), ...ORPHANS]),
    phase: 'fencing',
    primary: null,
  },
  {
    name: 'nothing listens, for less than a quick restart takes',
    state: STEADY,
    view: view([dead('pg1', { refusedSinceMs: NOW - 900, refusedUntilMs: NOW, aliveMs: NOW - 1200 }), ...ORPHANS]),
    phase: 'steady',
    primary: 'pg1',
  },
  {
    name: 'nothing listens for us, but something shows that it lives',
    state: STEADY,
    view: view([dead('pg1', { refusedSinceMs: NOW - 2500, refusedUntilMs: NOW, aliveMs: NOW - 200 }), ...ORPHANS]),
    phase: 'steady',
    primary: 'pg1',
  },
  {
    name: 'down, and given time to come back',
    state: SUSPECT,
    view: view([dead('pg1', { refusedSinceMs: NOW - 3000, refusedUntilMs: NOW }), ...ORPHANS], {
      restartWaitMs: 60_000,
    }),
    phase: 'suspect',
    primary: 'pg1',
    reason: /pg1 has 60000 ms to come back/,
  },
  {
    name: 'in recovery (57P03) for the timeout: a replica takes over',
    state: STEADY,
    view: view([dead('pg1', { failure: { kind: 'starting', message: '57P03' }, condition: 'starting' }), ...ORPHANS]),
    phase: 'fencing',
    primary: null,
  },
  {
    name: 'in recovery, and given time to come back',
    state: STEADY,
    view: view([dead('pg1', { failure: { kind: 'starting', message: '57P03' }, condition: 'starting' }), ...ORPHANS], {
      restartWaitMs: 60_000,
    }),
    phase: 'suspect',
    primary: 'pg1',
    reason: /to come back .* starts, stops or recovers/,
  },
  {
    name: 'silent in its host’s way has no time to come back',
    state: STEADY,
    view: view([dead('pg1', { failure: { kind: 'unreachable', message: 'no connection' } }), ...ORPHANS], {
      restartWaitMs: 60_000,
    }),
    phase: 'fencing',
    primary: null,
  },
  {
    name: 'overloaded: told, and left alone',
    state: STEADY,
    view: view([
      dead('pg1', {
        failure: { kind: 'hung', message: 'no answer within 1000 ms' },
        condition: 'overloaded',
        failingSinceMs: NOW - 4000,
        aliveMs: NOW - 100,
      }),
      ...ORPHANS,
    ]),
    phase: 'steady',
    primary: 'pg1',
    reason: /pg1 is alive and answers too late: no answer within 1000 ms/,
    does: ['event primary-troubled'],
  },
  {
    name: 'the trouble is over',
    state: { ...STEADY, trouble: 'pg1 is alive and answers too late', reason: 'pg1 is alive and answers too late' },
    view: view([node('pg1'), ...REPLICAS]),
    phase: 'steady',
    primary: 'pg1',
    reason: /pg1 answers again/,
    does: ['event primary-returned'],
  },
  {
    name: '46: another cluster answers at the primary’s address, the replicas still stream',
    state: STEADY,
    view: view([node('pg1', { seen: seen('pg1', { systemId: '42' }) }), ...REPLICAS]),
    phase: 'suspect',
    primary: 'pg1',
  },
  {
    name: '20: back on the same timeline after suspicion',
    state: SUSPECT,
    view: view([node('pg1'), ...ORPHANS]),
    phase: 'steady',
    primary: 'pg1',
    does: ['event primary-returned'],
  },
  {
    name: '20: back while the replicas were being stopped: they are turned back, nothing is promoted',
    state: FENCING,
    view: view([node('pg1'), ...ORPHANS], { outcome: STOPPED }),
    phase: 'steady',
    primary: 'pg1',
    does: ['event primary-returned', 'record epoch', 'thaw'],
  },
  {
    name: '5: the last look finds a stream: back to suspicion, replicas turned back',
    state: FENCING,
    view: view([dead('pg1'), ...ORPHANS], { outcome: { work: 'freeze', frozen: [], alive: 'pg2 still receives WAL' } }),
    phase: 'suspect',
    primary: 'pg1',
    does: ['event primary-returned', 'record epoch', 'thaw'],
  },
  {
    name: 'all stand still: the most advanced is promoted',
    state: FENCING,
    view: view([dead('pg1'), ...ORPHANS], { outcome: STOPPED }),
    phase: 'promoting',
    primary: null,
    does: ['event elected', 'promote'],
  },
  {
    name: '25: the candidate dies in the middle: the next one of the same positions; the first is out',
    state: PROMOTING,
    view: view([dead('pg1'), dead('pg2'), orphan('pg3', 990)], {
      outcome: { work: 'promote', node: 'pg2', refused: 'lost', uncertain: true },
    }),
    phase: 'promoting',
    primary: null,
    reason: /pg3 is promoted/,
    does: ['event promotion-failed', 'event elected', 'promote'],
  },
  {
    name: '26: refused, and nobody is left: halted, replicas turned back',
    state: PROMOTING,
    view: view([dead('pg1'), orphan('pg2')], {
      outcome: { work: 'promote', node: 'pg2', refused: 'pg_promote answered false', uncertain: false },
    }),
    phase: 'halted',
    primary: null,
    does: ['event promotion-failed', 'event halted', 'thaw'],
  },
  {
    name: '25: the only candidate died when it was told to promote, and is a replica again: it was not promoted',
    state: HALTED_AFTER_LOSS,
    view: view([dead('pg1'), orphan('pg2', 1000, { seen: lone('pg2', 200) })]),
    phase: 'fencing',
    primary: null,
    does: ['event fencing', 'freeze'],
  },
  {
    name: '25: it has died of that three times: left to an operator',
    state: {
      ...PROMOTING,
      fenced: new Map([['pg2', { sinceEpoch: 2, reason: 'lost', toldRun: 90, losses: 2 }]]),
    },
    view: view([dead('pg1'), orphan('pg2', 1000, { seen: lone('pg2', 200) })], {
      outcome: { work: 'promote', node: 'pg2', refused: 'lost', uncertain: true, toldRun: 100 },
    }),
    phase: 'halted',
    primary: null,
    reason: /pg2: lost/,
    does: ['event promotion-failed', 'event halted', 'thaw'],
  },
  {
    name: '25: the old primary is back: whoever was lost may be no witness of its next death',
    state: { ...HALTED_AFTER_LOSS, phase: 'steady', primary: 'pg1', fenced: overtakenBy(HALTED_AFTER_LOSS.fenced) },
    view: view([dead('pg1'), orphan('pg2', 1000, { seen: lone('pg2', 200) })]),
    phase: 'suspect',
    primary: 'pg1',
  },
  {
    name: '25: the same, but its server was not started again: it may be promoted at any time',
    state: HALTED_AFTER_LOSS,
    view: view([dead('pg1'), orphan('pg2', 1000, { seen: lone('pg2', 100) })]),
    phase: 'halted',
    primary: null,
    does: [],
  },
  {
    name: '19: the old primary is back: fenced',
    state: AFTER,
    view: view([node('pg1', { seen: seen('pg1', { receiveLsn: at(1500) }) }), NEW_PRIMARY, FOLLOWER]),
    phase: 'steady',
    primary: 'pg2',
    does: ['event fenced', 'fence'],
  },
  {
    name: '21: a replica ahead of the fork',
    state: AFTER,
    view: view([dead('pg1'), NEW_PRIMARY, node('pg3', { diverged: 'it has replayed timeline 1 to 0/500' })]),
    phase: 'steady',
    primary: 'pg2',
    does: ['event diverged'],
  },
  {
    name: '19: the old primary was rebuilt and follows: taken in again',
    state: { ...AFTER, fenced: new Map([['pg1', { sinceEpoch: 2, reason: 'was primary' }]]) },
    view: view([
      node('pg1', { seen: seen('pg1', { role: 'replica', timeline: 2, receiver: RECEIVER }) }),
      NEW_PRIMARY,
      FOLLOWER,
    ]),
    phase: 'steady',
    primary: 'pg2',
    does: ['lift', 'event rejoined'],
  },
  {
    name: '12: a replica that was left turned to nobody is turned to the primary',
    state: STEADY,
    view: view([node('pg1'), node('pg2'), orphan('pg3', 1000, { deafSinceMs: NOW - 3500 })]),
    phase: 'steady',
    primary: 'pg1',
    does: ['mend'],
  },
  {
    name: 'somebody else promoted a replica: looked at anew, writes are held',
    state: STEADY,
    view: view([node('pg1'), NEW_PRIMARY, FOLLOWER]),
    phase: 'starting',
    primary: null,
    does: ['event primary-changed', 'inspect'],
  },
  {
    name: 'follow: somebody made a primary without a new timeline',
    state: SUSPECT,
    view: view([dead('pg1'), node('pg2', { seen: seen('pg2', { role: 'primary', receiver: null }) }), orphan('pg3')], {
      mode: 'follow',
    }),
    phase: 'starting',
    primary: null,
    does: ['inspect'],
  },
  {
    name: 'follow: the primary is dead, and nobody is promoted',
    state: STEADY,
    view: view([dead('pg1'), ...ORPHANS], { mode: 'follow' }),
    phase: 'suspect',
    primary: 'pg1',
    reason: /pg1 is dead .*failover.mode is follow/,
  },
  {
    name: 'follow: the old primary is back: it gets nothing, and is not touched',
    state: AFTER,
    view: view([node('pg1'), NEW_PRIMARY, FOLLOWER], { mode: 'follow' }),
    phase: 'steady',
    primary: 'pg2',
    does: ['event fenced'],
  },
  {
    name: '13: halted, and a primary of a higher timeline appears: adopted by way of starting',
    state: { ...SUSPECT, phase: 'halted', primary: null, sinceMs: NOW - 5000 },
    view: view([dead('pg1'), NEW_PRIMARY, FOLLOWER]),
    phase: 'starting',
    primary: null,
    does: ['inspect'],
  },
  {
    name: 'halted, and a replica that is near enough comes back',
    state: { ...SUSPECT, phase: 'halted', primary: null, sinceMs: NOW - 5000 },
    view: view([dead('pg1'), orphan('pg2')]),
    phase: 'fencing',
    primary: null,
  },
  {
    name: 'start: not before everybody was asked',
    state: { ...INITIAL, sinceMs: NOW - 10 },
    view: view([node('pg1'), node('pg2'), node('pg3', { seen: null, asked: false })]),
    phase: 'starting',
    primary: null,
    does: [],
  },
  {
    name: 'start: no primary answers within the timeout: the replicas are asked for the epoch',
    state: { ...INITIAL, sinceMs: NOW - 3001 },
    view: view([dead('pg1'), ...ORPHANS], { newestLsn: at(0) }),
    phase: 'starting',
    primary: null,
    does: ['inspect'],
  },
  {
    name: 'start: then the receivers decide',
    state: { ...INITIAL, sinceMs: NOW - 3001, work: 'inspect' },
    view: view([dead('pg1'), ...ORPHANS], {
      newestLsn: at(0),
      outcome: {
        work: 'inspect',
        histories: new Map(),
        recorded: new Map([['pg3', { epoch: 4, timeline: 1 }]]),
        promotionsMs: [],
      },
    }),
    phase: 'fencing',
    primary: null,
    does: ['event suspect', 'event fencing', 'freeze'],
  },
  {
    name: 'start: replicas that a run before left without a stream get one back before their silence counts',
    state: { ...INITIAL, sinceMs: NOW - 10 },
    view: view([dead('pg1'), held('pg2', 'frozen'), held('pg3', 'forward')]),
    phase: 'starting',
    primary: null,
    does: ['thaw'],
  },
  {
    name: 'start: they are left alone where failover is off',
    state: { ...INITIAL, sinceMs: NOW - 10 },
    view: view([dead('pg1'), held('pg2', 'frozen'), orphan('pg3')], { mode: 'off' }),
    phase: 'starting',
    primary: null,
    does: [],
  },
  {
    name: 'start: one that was told to promote may become the primary: nobody is adopted meanwhile',
    state: { ...INITIAL, sinceMs: NOW - 1000 },
    view: view([node('pg1'), held('pg2', 'promote'), held('pg3', 'frozen')]),
    phase: 'starting',
    primary: null,
    reason: /pg2 was told to promote/,
    does: [],
  },
  {
    name: 'start: after a while it was not told, or did not listen',
    state: { ...INITIAL, sinceMs: NOW - 5001 },
    view: view([node('pg1'), held('pg2', 'promote'), held('pg3', 'frozen')]),
    phase: 'starting',
    primary: null,
    does: ['inspect'],
  },
  {
    name: 'start: two were told to promote: the first one was lost, and nobody knows which of them that was',
    state: { ...SUSPECT, phase: 'halted', primary: null, sinceMs: NOW - 5000 },
    view: view([dead('pg1'), held('pg2', 'promote'), held('pg3', 'promote')]),
    phase: 'halted',
    primary: null,
    reason: /pg2: pg2 and pg3 were told to promote; pg3: pg2 and pg3 were told/,
  },
  {
    name: 'start: where no primary answers, nobody but the one that was told to promote becomes it',
    state: {
      ...FENCING,
      plan: { ...PLAN, former: null },
      former: null,
    },
    view: view([dead('pg1'), held('pg2', 'promote'), { ...held('pg3', 'frozen'), weight: 9 }], {
      outcome: { work: 'freeze', frozen: [frozen('pg2', 1000), frozen('pg3', 1000)], alive: null },
    }),
    phase: 'promoting',
    primary: null,
    reason: /pg2 is promoted/,
    does: ['event elected', 'promote'],
  },
  {
    name: 'start: the primary of a switchover that was broken off, under its epoch',
    state: { ...INITIAL, sinceMs: NOW - 3001, work: 'inspect' },
    view: view(
      [node('pg1', { seen: seen('pg1', { fence: 6, readOnly: true }) }), held('pg2', 'frozen', 7), node('pg3')],
      {
        outcome: {
          work: 'inspect',
          histories: new Map([['pg1', { timeline: 1, steps: [], known: true }]]),
          recorded: new Map([['pg1', { epoch: 5, timeline: 1 }]]),
          promotionsMs: [],
        },
      },
    ),
    phase: 'steady',
    primary: 'pg1',
    does: ['event adopted', 'record epoch', 'lift'],
  },
  {
    name: 'start: a fenced primary that may have been replaced by one that does not answer',
    state: { ...INITIAL, sinceMs: NOW - 3001 },
    view: view([node('pg1', { seen: seen('pg1', { fence: 6, readOnly: true }) }), dead('pg2'), node('pg3')]),
    phase: 'halted',
    primary: null,
    reason: /pg1 is fenced: .* pg2 may be its successor and does not answer/,
    does: ['event halted'],
  },
  {
    name: 'start: no primary answers, but a replica streams from one',
    state: { ...INITIAL, sinceMs: NOW - 3001, epoch: 4 },
    view: view([dead('pg1'), orphan('pg2'), node('pg3')]),
    phase: 'suspect',
    primary: null,
    reason: /pg3 still receives WAL from a primary/,
  },
];

describe('decide', () => {
  for (const { name, state, view: seenNow, phase, primary, reason, does } of CASES) {
    it(name, () => {
      const after = settle(state, seenNow);
      assert.equal(after.state.phase, phase, after.state.reason);
      assert.equal(after.state.primary, primary);
      if (reason !== undefined) assert.match(after.state.reason, reason);
      if (does !== undefined) assert.deepEqual(after.kinds, does);
    });
  }

  it('raises the epoch before anything is touched, by one', () => {
    assert.equal(settle(STEADY, view([dead('pg1'), ...ORPHANS])).state.epoch, 2);
  });

  it('not to one under which a run before began a change', () => {
    const left = view([dead('pg1'), held('pg2', 'frozen', 7), held('pg3', 'frozen', 7)]);
    assert.equal(decide({ ...SUSPECT, former: null, sinceMs: NOW - 9000 }, left, NOW).state.epoch, 8);
    const fenced = node('pg1', { seen: seen('pg1', { fence: 9 }) });
    assert.equal(decide(STEADY, view([fenced, ...REPLICAS]), NOW).state.markedEpoch, 9);
  });

  it('publishes the new primary before the others are turned to it', () => {
    const outcome: Outcome = {
      work: 'promote',
      node: 'pg2',
      timeline: 2,
      parentTimeline: 1,
      forkLsn: at(990),
      lostCommits: [{ endLsn: at(995), commitMs: 0, tables: ['t1'] }],
      refused: null,
    };
    const { state, actions } = decide(PROMOTING, view([dead('pg1'), ...ORPHANS], { outcome }), NOW);
    assert.equal(state.phase, 'repointing');
    assert.equal(state.primary, 'pg2');
    assert.equal(state.timeline, 2);
    assert.ok(state.fenced.has('pg1'));
    assert.deepEqual(state.forks, [{ timeline: 2, parentTimeline: 1, forkLsn: at(990), epoch: 2 }]);
    const told = actions.find((action) => action.kind === 'event');
    assert.equal(told?.name, 'failover');
    const detail = told?.detail as { lostBytes: number; lostCommits: unknown[] };
    assert.equal(detail.lostBytes, 10);
    assert.deepEqual(detail.lostCommits, [{ endLsn: '0/3E3', commitTime: '1970-01-01T00:00:00.000Z', tables: ['t1'] }]);
    assert.deepEqual(actions.at(-1), { kind: 'repoint', nodes: ['pg3'], primary: 'pg2', demoted: null });
  });

  it('has the old primary of a planned change made a follower, where its agent may', () => {
    const outcome: Outcome = {
      ...{
        work: 'promote',
        node: 'pg2',
        timeline: 2,
        parentTimeline: 1,
        forkLsn: at(1000),
        lostCommits: [],
        refused: null,
      },
    };
    const asked = (kind: 'planned' | 'forced', demotable: boolean) => {
      const state: State = { ...PROMOTING, plan: { ...PLAN, kind, to: 'pg2' } };
      const nodes = [node('pg1', { demotable }), node('pg2'), node('pg3')];
      return decide(state, view(nodes, { outcome }), NOW).actions.slice(-2);
    };
    const repoint = { kind: 'repoint', nodes: ['pg3'], primary: 'pg2' };
    assert.deepEqual(asked('planned', true), [
      { kind: 'demote', node: 'pg1', primary: 'pg2' },
      { ...repoint, demoted: 'pg1' },
    ]);
    assert.deepEqual(asked('planned', false).at(-1), { ...repoint, demoted: null });
    assert.deepEqual(asked('forced', true).at(-1), { ...repoint, demoted: null });
    assert.ok(!asked('forced', true).some(({ kind }) => kind === 'demote'));
  });

  it('fences a candidate of unknown fate for good', () => {
    const outcome: Outcome = { work: 'promote', node: 'pg2', refused: 'lost', uncertain: true };
    const { state } = decide(PROMOTING, view([dead('pg1'), dead('pg2'), orphan('pg3')], { outcome }), NOW);
    assert.equal(state.fenced.get('pg2')?.reason, 'lost');
  });

  it('does not believe an answer to a question from before the promotion', () => {
    const before = { ...AFTER, heardFromMs: NOW - 50 };
    const stale = node('pg2', { seen: seen('pg2', { startedMs: NOW - 60 }) });
    assert.equal(settle(before, view([dead('pg1'), stale, node('pg3')])).state.phase, 'steady');
  });

  it('names the range that only the old primary has', () => {
    const old = node('pg1', { seen: seen('pg1', { receiveLsn: at(0x1500) }) });
    const { state } = decide(AFTER, view([old, NEW_PRIMARY, FOLLOWER]), NOW);
    assert.match(state.fenced.get('pg1')?.reason ?? '', /its WAL from 0\/3E8 to 0\/1500 is on no other node/);
  });
});

describe('decide on an operator’s request', () => {
  const switchover = (to: string | null) => ({ kind: 'switchover', to }) as const;
  const failover = { kind: 'failover', to: null } as const;
  const all = [node('pg1'), ...REPLICAS];

  it('begins a switchover to the best, or to the one asked for', () => {
    const best = settle(STEADY, view(all, { request: switchover(null) }));
    assert.deepEqual([best.state.phase, best.state.plan?.to, best.state.primary], ['fencing', 'pg2', null]);
    assert.equal(settle(STEADY, view(all, { request: switchover('pg3') })).state.plan?.to, 'pg3');
  });

  const refusals: readonly (readonly [string, State, View, RegExp])[] = [
    ['failover.mode is off', STEADY, view(all, { request: failover, mode: 'off' }), /failover.mode is off/],
    ['unknown node', STEADY, view(all, { request: switchover('pg9') }), /no node is called pg9/],
    ['the primary itself', STEADY, view(all, { request: switchover('pg1') }), /pg1 is the primary already/],
    [
      'the primary does not answer',
      SUSPECT,
      view([dead('pg1'), ...ORPHANS], { request: switchover(null) }),
      /needs a primary that answers/,
    ],
    ['no replica', STEADY, view([node('pg1')], { request: failover }), /there is no replica/],
    ['busy', FENCING, view([dead('pg1'), ...ORPHANS], { request: failover }), /busy/],
    [
      '46: a foreign target',
      STEADY,
      view([node('pg1'), node('pg2', { seen: seen('pg2', { systemId: '42' }) })], { request: switchover('pg2') }),
      /another cluster/,
    ],
  ];
  for (const [name, state, seenNow, reason] of refusals) {
    it(`refuses: ${name}`, () => {
      const after = settle(state, seenNow);
      assert.match(after.reasons.join(), reason);
      assert.equal(after.state.phase, state.phase);
    });
  }

  it('forces a failover that nothing confirms, and fences the living primary', () => {
    const { state, actions } = decide(STEADY, view(all, { request: failover }), NOW);
    assert.equal(state.plan?.kind, 'forced');
    assert.deepEqual(actions.at(-1), { kind: 'freeze', nodes: ['pg2', 'pg3'], former: 'pg1', force: true });
  });

  it('forces one beyond max_loss too', () => {
    const far = view([dead('pg1'), orphan('pg2', 1)], { request: failover });
    assert.equal(settle(SUSPECT, far).state.phase, 'fencing');
  });

  it('gives a switchover up without harm when the target does not catch up', () => {
    const handing: State = { ...FENCING, plan: { ...PLAN, kind: 'planned', to: 'pg2' }, work: 'hand over' };
    const outcome: Outcome = { work: 'hand over', frozen: [], newestLsn: at(0), refused: 'pg2 did not replay 0/3E8' };
    const after = settle(handing, view(all, { outcome }));
    assert.deepEqual([after.state.phase, after.state.primary], ['steady', 'pg1']);
    assert.deepEqual(after.reasons, ['pg2 did not replay 0/3E8']);
  });
});

describe('decide when somebody else promotes one meanwhile', () => {
  const nodes = [dead('pg1'), NEW_PRIMARY, orphan('pg3')];

  it('promotes nobody, and looks for the primary', () => {
    const { state, actions } = decide(ELECTING, view(nodes), NOW);
    assert.deepEqual([state.phase, state.primary, state.plan, state.work], ['starting', null, null, 'thaw']);
    assert.match(state.reason, /pg2 was promoted to timeline 2 by somebody else/);
    assert.deepEqual(actions.at(-1), { kind: 'thaw', nodes: null });
    const after = settle(state, view(nodes, { outcome: { work: 'thaw', problems: new Map() } }));
    assert.deepEqual(after.kinds, ['inspect']);
  });

  it('tells an operator who wanted another one', () => {
    const forced: State = { ...ELECTING, plan: { ...PLAN, kind: 'forced', frozen: [frozen('pg3', 1000)] } };
    const { state, reasons } = settle(forced, view(nodes));
    assert.equal(state.plan, null);
    assert.match(reasons.join(), /by somebody else/);
  });

  it('does not mistake one for it that this run gave up', () => {
    const fenced = new Map([['pg2', { sinceEpoch: 2, reason: 'lost' }]]);
    assert.equal(settle({ ...ELECTING, fenced }, view(nodes)).state.plan?.kind, 'automatic');
  });
});

describe('decide on a switchover whose target fails', () => {
  const plan = { ...PLAN, kind: 'planned' as const, to: 'pg2', newestLsn: at(1000) };
  const electing: State = { ...ELECTING, plan: { ...plan, frozen: [frozen('pg2', 1000), frozen('pg3', 1000)] } };
  const promoting: State = { ...electing, phase: 'promoting', work: 'promote' };
  const all = [node('pg1'), ...REPLICAS];
  const failed = (uncertain: boolean): Outcome => ({ work: 'promote', node: 'pg2', refused: 'lost', uncertain });

  it('tells the target although a probe of it has failed', () => {
    const { state, kinds } = settle(electing, view([node('pg1'), dead('pg2'), node('pg3')]));
    assert.deepEqual([state.phase, kinds], ['promoting', ['event elected', 'promote']]);
  });

  it('goes back to the old primary while that answers, with one event', () => {
    for (const uncertain of [false, true]) {
      const { state, kinds } = settle(promoting, view(all, { outcome: failed(uncertain) }));
      assert.deepEqual([state.phase, state.work, kinds], ['electing', 'undo', ['undo']]);
      assert.equal(state.fenced.has('pg2'), uncertain);
      const after = settle(state, view(all, { outcome: { work: 'undo', problem: null } }));
      assert.deepEqual([after.state.phase, after.state.primary, after.state.plan], ['steady', 'pg1', null]);
      assert.deepEqual(after.kinds.slice(0, 3), ['event switchover-refused', 'record epoch', 'refuse']);
      assert.match(after.reasons.join(), /^switchover undone: pg2 could not be promoted: lost$/);
    }
  });

  it('promotes nobody when it is not known how far that went', () => {
    const undoing: State = { ...electing, work: 'undo', reason: 'switchover undone: pg2 is away' };
    const { state, reasons } = settle(undoing, view(all, { outcome: { work: 'undo', problem: 'no answer' } }));
    assert.deepEqual([state.phase, state.primary, state.plan], ['halted', null, null]);
    assert.match(state.reason, /pg2 is away; but pg1: no answer/);
    assert.equal(reasons.length, 1);
  });

  it('takes another one that has everything where the old primary is gone as well, and none that lacks a byte', () => {
    const nodes = [dead('pg1'), dead('pg2'), node('pg3')];
    const { state } = settle(promoting, view(nodes, { outcome: failed(false) }));
    assert.deepEqual([state.phase, state.reason], ['promoting', 'pg3 is promoted at 0/3E8']);
    const short: State = { ...promoting, plan: { ...plan, frozen: [frozen('pg2', 1000), frozen('pg3', 999)] } };
    assert.equal(settle(short, view(nodes, { outcome: failed(false) })).state.phase, 'halted');
  });

  it('turns a target back that was told, given up, and not promoted', () => {
    const state: State = { ...STEADY, epoch: 7, fenced: new Map([['pg2', { sinceEpoch: 7, reason: 'lost' }]]) };
    const { actions } = decide(state, view([node('pg1'), held('pg2', 'promote'), node('pg3')]), NOW);
    assert.deepEqual(actions, [{ kind: 'mend', node: 'pg2', primary: 'pg1' }]);
  });
});

describe('decide at the start', () => {
  const inspecting: State = { ...INITIAL, work: 'inspect', sinceMs: NOW };
  const history = (timeline: number, steps: readonly (readonly [number, number])[]) => ({
    timeline,
    steps: steps.map(([t, end]) => ({ timeline: t, endLsn: at(end) })),
    known: true,
  });

  it('adopts the one primary, with epoch 1 when none is recorded', () => {
    const outcome: Outcome = {
      work: 'inspect',
      histories: new Map([['pg1', history(1, [])]]),
      recorded: new Map(),
      promotionsMs: [],
    };
    const { state } = settle(inspecting, view([node('pg1'), ...REPLICAS], { outcome }));
    assert.deepEqual(
      [state.phase, state.primary, state.epoch, state.timeline, state.systemId],
      ['steady', 'pg1', 1, 1, SYSTEM],
    );
  });

  it('24: counts the promotions of earlier runs', () => {
    const promotionsMs = [1, 2, 3, 4, 5].map((i) => NOW - i * 20_000);
    const histories = new Map([['pg1', history(1, [])]]);
    const outcome: Outcome = { work: 'inspect', histories, recorded: new Map(), promotionsMs };
    const { state } = settle(inspecting, view([node('pg1'), ...REPLICAS], { outcome }));
    const after = settle(
      { ...state, phase: 'suspect', sinceMs: 1000, heardFromMs: 1000 },
      view([dead('pg1'), ...ORPHANS]),
    );
    assert.equal(after.state.phase, 'suspect');
    assert.match(after.state.reason, /5 promotions within 10 minutes/);
  });

  it('13: raises the epoch when the timeline is newer than what is recorded', () => {
    const outcome: Outcome = {
      work: 'inspect',
      histories: new Map([['pg2', history(2, [[1, 1000]])]]),
      recorded: new Map([['pg2', { epoch: 7, timeline: 1 }]]),
      promotionsMs: [],
    };
    const { state, kinds } = settle(inspecting, view([dead('pg1'), NEW_PRIMARY, FOLLOWER], { outcome }));
    assert.deepEqual([state.primary, state.epoch, state.timeline], ['pg2', 8, 2]);
    assert.deepEqual(state.forks, [{ timeline: 2, parentTimeline: 1, forkLsn: at(1000), epoch: 8 }]);
    assert.deepEqual(kinds.slice(0, 2), ['event adopted', 'record epoch']);
  });

  it('of two primaries takes the descendant and fences the ancestor', () => {
    const outcome: Outcome = {
      work: 'inspect',
      histories: new Map([
        ['pg1', history(1, [])],
        ['pg2', history(2, [[1, 1000]])],
      ]),
      recorded: new Map(),
      promotionsMs: [],
    };
    const { state } = settle(inspecting, view([node('pg1'), NEW_PRIMARY, FOLLOWER], { outcome }));
    assert.equal(state.primary, 'pg2');
    assert.match(state.fenced.get('pg1')?.reason ?? '', /was primary of timeline 1, replaced by timeline 2 at 0\/3E8/);
  });

  it('halts between two primaries of one timeline', () => {
    const twin = node('pg2', { seen: seen('pg2', { role: 'primary', receiver: null }) });
    const outcome: Outcome = {
      work: 'inspect',
      histories: new Map([
        ['pg1', history(1, [])],
        ['pg2', history(1, [])],
      ]),
      recorded: new Map(),
      promotionsMs: [],
    };
    const { state } = settle(inspecting, view([node('pg1'), twin], { outcome }));
    assert.equal(state.phase, 'halted');
    assert.match(state.reason, /neither descends from the other/);
  });

  it('goes on with an old primary that has the epoch on record under which another one was told to promote', () => {
    const mark = { kind: 'promote' as const, epoch: 7, timeline: 1, detail: '' };
    const told = node('pg2', { seen: seen('pg2', { role: 'primary', timeline: 2, receiver: null, mark }) });
    const adopted = (ofOld: number, ofTold: number) => {
      const outcome: Outcome = {
        work: 'inspect',
        histories: new Map([
          ['pg1', history(1, [])],
          ['pg2', history(2, [[1, 900]])],
        ]),
        recorded: new Map([
          ['pg1', { epoch: ofOld, timeline: 1 }],
          ['pg2', { epoch: ofTold, timeline: 1 }],
        ]),
        promotionsMs: [],
      };
      return decide(inspecting, view([node('pg1'), told, node('pg3')], { outcome }), NOW).state;
    };
    const kept = adopted(7, 6);
    assert.deepEqual([kept.primary, kept.epoch, kept.timeline], ['pg1', 7, 1]);
    assert.match(kept.fenced.get('pg2')?.reason ?? '', /its promotion was given up, and pg1 went on/);
    assert.equal(adopted(6, 6).primary, 'pg2', 'it was told, and nobody gave it up');
    assert.equal(adopted(7, 7).primary, 'pg2', 'it served');
  });

  it('does not take a primary that its own replica has outlived', () => {
    const outcome: Outcome = {
      work: 'inspect',
      histories: new Map([['pg1', history(1, [])]]),
      recorded: new Map(),
      promotionsMs: [],
    };
    const { state } = settle(inspecting, view([node('pg1'), dead('pg2'), FOLLOWER], { outcome }));
    assert.equal(state.phase, 'halted');
    assert.match(state.reason, /pg1 was replaced by a primary that does not answer/);
  });

  it('lifts the fence of a primary that nobody replaced before it is adopted', () => {
    const fenced = node('pg1', { seen: seen('pg1', { fence: 6, readOnly: true }) });
    const state: State = { ...INITIAL, sinceMs: NOW };
    const { actions } = decide(state, view([fenced, node('pg2'), node('pg3')]), NOW);
    assert.deepEqual(actions, [{ kind: 'inspect', nodes: ['pg1'], lift: 'pg1' }]);
    const replaced = decide(state, view([fenced, node('pg2', { timeline: 2 }), node('pg3')]), NOW);
    assert.deepEqual(replaced.actions, [{ kind: 'inspect', nodes: ['pg1'] }]);
  });

  it('46: leaves a node of another cluster out', () => {
    const foreign = node('pg3', { seen: seen('pg3', { role: 'primary', systemId: '42', receiver: null }) });
    const state: State = { ...INITIAL, sinceMs: NOW };
    const { actions } = decide(state, view([node('pg1'), node('pg2'), foreign]), NOW);
    assert.deepEqual(actions, [{ kind: 'inspect', nodes: ['pg1'] }]);
  });
});
