import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Quorum } from '../../../src/cluster/synchrony.ts';
import { decide } from '../../../src/failover/decide.ts';
import type { Action, Outcome, Request, State } from '../../../src/failover/state.ts';
import type { Standing } from '../../../src/failover/sync/proof.ts';
import type { NodeView } from '../../../src/failover/view.ts';
import { at, dead, frozen, NOW, node, orphan, PLAN, SUSPECT, view } from './fixture.ts';

const q = (copies: number, ...nodes: string[]): Quorum => ({ copies, nodes });

function standing(guarantee: Quorum[] | null, change: Partial<Standing> = {}): Standing {
  const none = new Set<string>();
  return { copies: 1, degrade: 'block', guarantee, witnessed: true, seen: none, ...change };
}

const FENCING: State = { ...SUSPECT, phase: 'fencing', primary: null, epoch: 2, plan: PLAN, work: 'freeze' };
const FORCED: State = { ...FENCING, plan: { ...PLAN, kind: 'forced', allowDataLoss: true } };

/** Decides until nothing changes. */
function settle(
  state: State,
  nodes: readonly NodeView[],
  extras: { standing: Standing; outcome?: Outcome; request?: Request },
) {
  const actions: Action[] = [];
  let now = state;
  let current = view(nodes, extras);
  for (let i = 0; i < 10; i++) {
    const decision = decide(now, current, NOW);
    actions.push(...decision.actions);
    if (decision.state.phase === now.phase && decision.state.work === now.work) break;
    now = decision.state;
    current = { ...current, outcome: null, request: null };
  }
  const promoted = actions.flatMap((action) => (action.kind === 'promote' ? [action.node] : []));
  const events = actions.flatMap((action) => (action.kind === 'event' ? [action.name] : []));
  const refusals = actions.flatMap((action) => (action.kind === 'refuse' ? [action.reason] : []));
  return { state: now, promoted: promoted[0] ?? null, events, refusals };
}

const stopped = (...positions: ReturnType<typeof frozen>[]): Outcome => ({
  work: 'freeze',
  frozen: positions,
  alive: null,
});
const forwarded = (
  node: string,
  source: string,
  position: ReturnType<typeof frozen> | null,
  refused: string | null,
): Outcome => ({ work: 'fast-forward', node, source, frozen: position, refused });
const ALL = [dead('pg1'), orphan('pg2'), orphan('pg3', 990)];

describe('failover where commits were promised to be safe', () => {
  it('gives a primary up only when somebody may follow: nothing is touched before', () => {
    const { state } = settle(SUSPECT, [dead('pg1'), dead('pg2'), orphan('pg3')], { standing: standing([q(1, 'pg2')]) });
    assert.equal(state.phase, 'halted');
    assert.match(
      state.reason,
      /pg3: it may lack acknowledged commits: .*pg2 does not tell where it stands.*--allow-data-loss/s,
    );
  });

  it('promotes the one that counts where the one of greater weight does not get what it lacks', () => {
    const nodes = [dead('pg1'), orphan('pg2'), orphan('pg3', 1000, { weight: 9 })];
    const facts = { standing: standing([q(1, 'pg2')]) };
    const first = settle(FENCING, nodes, { ...facts, outcome: stopped(frozen('pg2', 1000), frozen('pg3', 999)) });
    assert.deepEqual([first.promoted, first.state.work], [null, 'fast-forward']);
    const refused = forwarded('pg3', 'pg2', null, 'it did not receive 0/3E8 of pg2 within 2000 ms');
    assert.equal(settle(first.state, nodes, { ...facts, outcome: refused }).promoted, 'pg2');
    const done = forwarded('pg3', 'pg2', frozen('pg3', 1000), null);
    assert.equal(settle(first.state, nodes, { ...facts, outcome: done }).promoted, 'pg3');
  });

  it('does not ask for max_loss where the proof is there', () => {
    const far = { ...FENCING, plan: { ...PLAN, newestLsn: at(1_000_000) } };
    const outcome = stopped(frozen('pg2', 1000), frozen('pg3', 990));
    assert.equal(settle(far, ALL, { standing: standing([q(1, 'pg2', 'pg3')]), outcome }).promoted, 'pg2');
  });

  it('26: halts when one of any 1 of 2 did not come to a standstill', () => {
    const { state, promoted } = settle(FENCING, ALL, {
      standing: standing([q(1, 'pg2', 'pg3')]),
      outcome: stopped(frozen('pg2', 1000)),
    });
    assert.deepEqual([state.phase, promoted], ['halted', null]);
  });

  it('does not take a position for all there is while a replica has files to replay', () => {
    const restarted = { ...frozen('pg3', 900), exact: false };
    const outcome = stopped(frozen('pg2', 1000), restarted);
    const { state } = settle(FENCING, ALL, { standing: standing([q(1, 'pg2', 'pg3')]), outcome });
    assert.match(state.reason, /pg2: .* pg3 does not tell where it stands/);
  });

  it('does not compare positions of another timeline', () => {
    const outcome = stopped(frozen('pg2', 1000), frozen('pg3', 900, 7));
    const { state } = settle(FENCING, ALL, { standing: standing([q(1, 'pg2', 'pg3')]), outcome });
    assert.equal(state.phase, 'halted');
  });

  it('one that may not be promoted gives those behind it what it has; else it proves nothing for them', () => {
    const nodes = [dead('pg1'), orphan('pg2', 1000, { promotable: false }), orphan('pg3', 990)];
    const outcome = stopped(frozen('pg2', 1000), frozen('pg3', 990));
    const facts = { standing: standing([q(1, 'pg2', 'pg3')]) };
    const first = settle(FENCING, nodes, { ...facts, outcome });
    assert.deepEqual([first.promoted, first.state.work], [null, 'fast-forward']);
    const done = settle(first.state, nodes, { ...facts, outcome: forwarded('pg3', 'pg2', frozen('pg3', 1000), null) });
    assert.deepEqual([done.promoted, done.state.plan?.proven], ['pg3', true]);
    const { state } = settle(first.state, nodes, { ...facts, outcome: forwarded('pg3', 'pg2', null, 'it died') });
    assert.equal(state.phase, 'halted');
    assert.match(state.reason, /pg2: configured as not promotable; pg3: .*pg2 is ahead/);
    assert.match(state.reason, /pg3 did not get what pg2 has: it died/);
  });

  it('25: the candidate fails: the next one only if it has as much', () => {
    const plan = { ...PLAN, frozen: [frozen('pg2', 1000), frozen('pg3', 990)] };
    const promoting: State = { ...FENCING, phase: 'promoting', work: 'promote', plan };
    const outcome: Outcome = { work: 'promote', node: 'pg2', refused: 'lost', uncertain: true };
    const nodes = [dead('pg1'), dead('pg2'), orphan('pg3', 990)];
    assert.equal(settle(promoting, nodes, { standing: standing([q(1, 'pg2', 'pg3')]), outcome }).state.phase, 'halted');
    const even = { ...plan, frozen: [frozen('pg2', 1000), frozen('pg3', 1000)] };
    const same = settle({ ...promoting, plan: even }, nodes, { standing: standing([q(1, 'pg2', 'pg3')]), outcome });
    assert.equal(same.promoted, 'pg3');
  });

  it('asks what followers know where the primary was never seen', () => {
    const unknown = standing(null, { witnessed: false });
    const without: State = { ...SUSPECT, former: null, primary: null };
    assert.equal(settle(without, ALL, { standing: unknown }).state.phase, 'fencing');
    const learned = standing([q(1, 'pg2')], {
      witnessed: false,
      seen: new Set(['pg2', 'pg3']),
    });
    const outcome = stopped(frozen('pg2', 1000), frozen('pg3', 990));
    assert.equal(settle({ ...FENCING, former: null }, ALL, { standing: learned, outcome }).promoted, 'pg2');
  });

  it('does not try again with followers that told nothing new', () => {
    const learned = standing([q(1, 'pg2')], { witnessed: false, seen: new Set(['pg3']) });
    const halted: State = { ...SUSPECT, phase: 'halted', former: null, primary: null, sinceMs: NOW - 5000 };
    assert.equal(
      settle(halted, [dead('pg1'), dead('pg2'), orphan('pg3')], { standing: learned }).state.phase,
      'halted',
    );
    assert.equal(settle(halted, ALL, { standing: learned }).state.phase, 'fencing', 'pg2 was not asked yet');
  });
});

describe('an operator’s failover where commits were promised to be safe', () => {
  const doubtful = standing([q(1, 'pg2')]);
  const nodes = [dead('pg1'), dead('pg2'), orphan('pg3')];

  it('is refused without the proof', () => {
    const request: Request = { kind: 'failover', to: null };
    const { refusals, state } = settle(SUSPECT, nodes, { standing: doubtful, request });
    assert.match(refusals[0] ?? '', /may lack acknowledged commits/);
    assert.equal(state.plan, null);
  });

  it('is done when the loss is accepted, and says what was not proven', () => {
    const request: Request = { kind: 'failover', to: null, allowDataLoss: true };
    assert.equal(settle(SUSPECT, nodes, { standing: doubtful, request }).state.plan?.allowDataLoss, true);
    const { promoted, events } = settle(FORCED, nodes, { standing: doubtful, outcome: stopped(frozen('pg3', 990)) });
    assert.equal(promoted, 'pg3');
    assert.ok(
      events.indexOf('data-loss-allowed') >= 0 && events.indexOf('data-loss-allowed') < events.indexOf('elected'),
    );
  });

  it('is no loss where the proof is there', () => {
    const outcome = stopped(frozen('pg2', 1000), frozen('pg3', 990));
    const { events } = settle(FORCED, [node('pg1'), orphan('pg2'), orphan('pg3')], { standing: doubtful, outcome });
    assert.ok(!events.includes('data-loss-allowed'));
  });

  it('a switchover has its own proof: the target has the last byte', () => {
    const plan = { ...PLAN, kind: 'planned' as const, to: 'pg3', newestLsn: at(2000) };
    const handing: State = { ...FENCING, plan, work: 'hand over' };
    const outcome: Outcome = { work: 'hand over', frozen: [frozen('pg3', 2000)], newestLsn: at(2000), refused: null };
    const all = [node('pg1'), node('pg2'), node('pg3')];
    assert.equal(settle(handing, all, { standing: doubtful, outcome }).promoted, 'pg3');
    const short: Outcome = { ...outcome, frozen: [frozen('pg3', 1999)] };
    const undone = settle(handing, all, { standing: doubtful, outcome: short });
    assert.deepEqual([undone.promoted, undone.state.phase, undone.state.work], [null, 'electing', 'undo']);
    const gone = [dead('pg1'), node('pg2'), node('pg3')];
    assert.equal(settle(handing, gone, { standing: doubtful, outcome: short }).state.phase, 'halted');
  });
});
