import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Quorum } from '../../../../src/cluster/synchrony.ts';
import { lsn } from '../../../../src/core/lsn.ts';
import { decideSync, type SyncStep, type SyncView } from '../../../../src/failover/sync/decide-sync.ts';
import { copiesOf, implies, NOBODY } from '../../../../src/failover/sync/quorum.ts';
import { formatNames, NO_ACKNOWLEDGEMENT, parseNames } from '../../../../src/failover/sync/standby-names.ts';
import type { Follower, Wish } from '../../../../src/failover/sync/target.ts';
import { randomFrom } from '../../../support/random.ts';
import { at } from '../fixture.ts';

const q = (copies: number, ...nodes: string[]): Quorum => ({ copies, nodes });
const SYNC: Wish = { mode: 'sync', copies: 1, degrade: 'block' };
const QUORUM: Wish = { mode: 'quorum', copies: 1, degrade: 'block' };
const NODES = ['pg1', 'pg2', 'pg3', 'pg4'];

function follower(name: string, change: Partial<Follower> = {}): Follower {
  const well = {
    promotable: true,
    weight: 1,
    drained: false,
    ailment: null,
    unproven: null,
    wellForMs: 5000,
    flushLsn: at(1000),
  };
  return { name, ...well, ...change };
}
const mute = (name: string): Follower => follower(name, { unproven: 'does not let Fairlead in' });
const ill = (name: string): Follower => follower(name, { ailment: 'does not stream', wellForMs: 0, flushLsn: null });

function view(text: string, guarantee: Quorum[], change: Partial<SyncView> = {}): SyncView {
  return {
    wish: SYNC,
    followers: [follower('pg2'), follower('pg3')],
    setting: { text, names: parseNames(text, NODES), fenced: false },
    guarantee,
    recorded: true,
    evident: true,
    unreadForMs: 0,
    topPriority: 1,
    armed: true,
    mark: null,
    shortForMs: 0,
    ...change,
  };
}

/** The step in short. */
function inShort(step: SyncStep): string {
  switch (step.kind) {
    case 'set':
      return `set ${formatNames(step.names)}`;
    case 'record':
      return `record ${step.guarantee.map((g) => `${g.copies}/${g.nodes.join('+')}`).join(' or ')} ${step.event?.kind ?? ''}`.trim();
    case 'unblock':
      return `unblock ${step.nodes}`;
    default:
      return step.kind;
  }
}
const next = (from: SyncView) => inShort(decideSync(from));

const BOTH = 'FIRST 2 ("fairlead_change", "pg2", "pg3")';
const DEAD_PG2 = [ill('pg2'), follower('pg3')];

describe('the next step of synchronous replication', () => {
  const cases: readonly (readonly [string, SyncView, string])[] = [
    ['as it should be', view('FIRST 1 ("pg2")', [q(1, 'pg2')]), 'settled'],
    ['an empty setting: first see that commits begin to wait', view('', [NOBODY], { armed: false }), 'arm'],
    [
      'armed: the new followers are required',
      view(NO_ACKNOWLEDGEMENT, [NOBODY]),
      'set FIRST 1 ("fairlead_change", "pg2")',
    ],
    ['what the run before did not record is recorded first', view('', [NOBODY], { recorded: false }), 'record 0/'],
    [
      'the one that counts fails: both are required',
      view('FIRST 1 ("pg2")', [q(1, 'pg2')], { followers: DEAD_PG2 }),
      `set ${BOTH}`,
    ],
    ['not every walsender knows yet', view(BOTH, [q(1, 'pg2')], { followers: DEAD_PG2, evident: false }), 'wait'],
    [
      'one does not get to know, and its follower ails',
      view(BOTH, [q(1, 'pg2')], { followers: DEAD_PG2, evident: false, unreadForMs: 1000 }),
      'unblock pg2',
    ],
    ['all know: what was acknowledged before is marked', view(BOTH, [q(1, 'pg2')], { followers: DEAD_PG2 }), 'mark'],
    [
      'the new one is not there yet',
      view(BOTH, [q(1, 'pg2')], { followers: DEAD_PG2, mark: { text: BOTH, lsn: at(1001) } }),
      'wait',
    ],
    [
      'it is: it counts alone',
      view(BOTH, [q(1, 'pg2')], { followers: DEAD_PG2, mark: { text: BOTH, lsn: at(1000) } }),
      'record 1/pg3 sync-changed',
    ],
    [
      'a mark of another setting is none',
      view(BOTH, [q(1, 'pg2')], { followers: DEAD_PG2, mark: { text: 'x', lsn: at(1) } }),
      'mark',
    ],
    [
      'recorded: then the old one is dropped',
      view(BOTH, [q(1, 'pg3')], { followers: DEAD_PG2 }),
      'set FIRST 1 ("pg3")',
    ],
    ['the old one comes back in the middle: nothing has changed', view(BOTH, [q(1, 'pg2')]), 'set FIRST 1 ("pg2")'],
    [
      'another restart in the middle of a change has moved the priorities: they are moved further',
      view('FIRST 2 ("fairlead_change", "pg2", "pg4")', [q(1, 'pg2')], { followers: DEAD_PG2, topPriority: 3 }),
      'set FIRST 2 ("fairlead_change", "fairlead_change", "fairlead_change", "pg2", "pg3")',
    ],
    [
      'the one that counts does not let us in: another is required as well, and takes its place later',
      view('FIRST 1 ("pg2")', [q(1, 'pg2')], { followers: [mute('pg2'), follower('pg3')] }),
      `set ${BOTH}`,
    ],
    [
      'nobody lets us in: all go on counting, for they acknowledge',
      view('ANY 1 ("pg2", "pg3")', [q(1, 'pg2', 'pg3')], { wish: QUORUM, followers: [mute('pg2'), mute('pg3')] }),
      'settled',
    ],
    [
      'quorum: one is behind: it counts all the same, and delays nobody',
      view('ANY 1 ("pg2", "pg3")', [q(1, 'pg2', 'pg3')], {
        wish: QUORUM,
        followers: [follower('pg2', { flushLsn: at(9_000_000) }), follower('pg3')],
      }),
      'settled',
    ],
    [
      'quorum: one does not let us in, and the other one would hold every commit up',
      view('ANY 1 ("pg2", "pg3")', [q(1, 'pg2', 'pg3')], {
        wish: QUORUM,
        followers: [follower('pg2', { unproven: 'no', flushLsn: at(9_000_000) }), follower('pg3')],
      }),
      'settled',
    ],
    [
      'quorum: one that was left out comes back only when the other one is far behind',
      view('ANY 1 ("pg3")', [q(1, 'pg3')], {
        wish: QUORUM,
        followers: [follower('pg2', { unproven: 'no', flushLsn: at(9_000_000) }), follower('pg3')],
      }),
      'settled',
    ],
    [
      'quorum: and then it does',
      view('ANY 1 ("pg3")', [q(1, 'pg3')], {
        wish: QUORUM,
        followers: [follower('pg2', { unproven: 'no', flushLsn: at(90_000_000) }), follower('pg3')],
      }),
      'record 1/pg2+pg3 sync-changed',
    ],
    [
      'sync: one does not let us in, and the other one would hold every commit up',
      view('FIRST 1 ("pg2")', [q(1, 'pg2')], {
        followers: [follower('pg2', { unproven: 'no', flushLsn: at(9_000_000) }), follower('pg3')],
      }),
      'settled',
    ],
    [
      'quorum: one does not let us in, and the other one is there',
      view('ANY 1 ("pg2", "pg3")', [q(1, 'pg2', 'pg3')], { wish: QUORUM, followers: [mute('pg2'), follower('pg3')] }),
      'set FIRST 1 ("fairlead_change", "pg3")',
    ],
    [
      'nobody lets us in, however long, and degrade: async',
      view('FIRST 1 ("pg2")', [q(1, 'pg2')], {
        ...{ wish: { ...SYNC, degrade: 'async' }, shortForMs: 60_000 },
        followers: [mute('pg2'), mute('pg3')],
      }),
      'settled',
    ],
    [
      'quorum: one more is only less strict: recorded, then set',
      view('ANY 1 ("pg2")', [q(1, 'pg2')], { wish: QUORUM }),
      'record 1/pg2+pg3 sync-changed',
    ],
    ['quorum: set', view('ANY 1 ("pg2")', [q(1, 'pg2', 'pg3')], { wish: QUORUM }), 'set ANY 1 ("pg2", "pg3")'],
    [
      'quorum: one that has just come waits a second',
      view('ANY 1 ("pg2")', [q(1, 'pg2')], {
        wish: QUORUM,
        followers: [follower('pg2'), follower('pg3', { wellForMs: 10 })],
      }),
      'settled',
    ],
    [
      'block: too few: nothing is touched',
      view('FIRST 1 ("pg2")', [q(1, 'pg2')], { followers: [ill('pg2'), ill('pg3')], shortForMs: 60_000 }),
      'blocked',
    ],
    [
      'block: too few, and nothing was ever required: nobody acknowledges',
      view('', [NOBODY], { followers: [ill('pg2'), ill('pg3')] }),
      'set FIRST 1 ("pg2", "pg3")',
    ],
    [
      'degrade: patience',
      view('FIRST 1 ("pg2")', [q(1, 'pg2')], {
        wish: { ...SYNC, degrade: 'async' },
        followers: [ill('pg2'), ill('pg3')],
      }),
      'wait',
    ],
    [
      'degrade: recorded before anything is touched',
      view('FIRST 1 ("pg2")', [q(1, 'pg2')], {
        wish: { ...SYNC, degrade: 'async' },
        followers: [ill('pg2'), ill('pg3')],
        shortForMs: 5000,
      }),
      'record 0/ sync-degraded',
    ],
    [
      'degrade: then nobody is waited for',
      view('FIRST 1 ("pg2")', [NOBODY], {
        wish: { ...SYNC, degrade: 'async' },
        followers: [ill('pg2'), ill('pg3')],
        shortForMs: 5000,
      }),
      'set ',
    ],
    [
      'degrade: to what is there',
      view('FIRST 2 ("pg2", "pg3")', [q(2, 'pg2', 'pg3')], {
        wish: { ...SYNC, copies: 2, degrade: 'async' },
        followers: DEAD_PG2,
        shortForMs: 5000,
      }),
      'record 1/pg3 sync-degraded',
    ],
    [
      'after a promotion: by the old and the new until the new ones have everything',
      view('FIRST 1 ("pg1", "pg3")', [q(1, 'pg2'), q(1, 'pg1', 'pg3')], { followers: [ill('pg1'), follower('pg3')] }),
      'set FIRST 1 ("fairlead_change", "pg3")',
    ],
    ['somebody else emptied it: told, then put right', view('', [q(1, 'pg2')]), 'record 0/ sync-lost'],
    ['a setting that names nobody we know', view('ANY 1 (*)', [q(1, 'pg2')]), 'record 0/ sync-lost'],
    [
      'fenced',
      {
        ...view('fairlead_fence_3', [q(1, 'pg2')]),
        setting: { text: 'fairlead_fence_3', names: parseNames('fairlead_fence_3', NODES), fenced: true },
      },
      'wait',
    ],
    [
      'one that may not be promoted counts only where it is needed',
      view('FIRST 1 ("pg2")', [q(1, 'pg2')], {
        followers: [ill('pg2'), follower('pg3', { promotable: false }), follower('pg4')],
      }),
      'set FIRST 2 ("fairlead_change", "pg2", "pg4")',
    ],
  ];
  for (const [name, from, expected] of cases) it(name, () => assert.equal(next(from), expected));
});

/**
 * A primary with followers that come and go, walsenders that read a setting late, and a Fairlead that forgets everything at any step.
 * Commits are acknowledged by whatever setting may still be in force somewhere. Whenever the guarantee is looked at, it must hold.
 */
describe('every acknowledged commit is where the guarantee says', () => {
  for (const mode of ['sync', 'quorum'] as const) {
    for (const degrade of ['block', 'async'] as const) {
      for (const copies of [1, 2]) {
        it(`${mode}, ${copies} copies, degrade: ${degrade}`, () => {
          for (let seed = 1; seed <= 150; seed++) play({ mode, copies, degrade }, seed);
        });
      }
    }
  }
});

function play(wish: Wish, seed: number): void {
  const random = randomFrom(seed);
  const names = ['pg2', 'pg3', 'pg4'];
  const well = new Map(names.map((name) => [name, true]));
  const flushed = new Map(names.map((name) => [name, 0n]));
  let acknowledged = 0n;
  let wal = 0n;
  let text = '';
  /** What a walsender or backend may still go by: all since the last moment when everybody had read the newest. */
  let stale: string[] = [''];
  let armedTruth = false;
  let guarantee: readonly Quorum[] = [NOBODY];
  let memory = { armed: false, mark: null as SyncView['mark'] };
  const holdersOf = (position: bigint) => names.filter((name) => (flushed.get(name) as bigint) >= position);
  /** Whoever has the last one acknowledged has all before. */
  const hold = () => {
    const holders = holdersOf(acknowledged);
    const kept = guarantee.some((g) => g.nodes.filter((node) => holders.includes(node)).length >= g.copies);
    const what = `${acknowledged} is on ${holders}, guaranteed ${JSON.stringify(guarantee)}, setting ${text}`;
    assert.ok(kept, `seed ${seed}: ${what}`);
  };
  let settled = 0;
  for (let turn = 0; turn < 300; turn++) {
    const calm = turn > 200;
    if (!calm && random.int(12) === 0) {
      const name = names[random.int(names.length)] as string;
      well.set(name, !well.get(name));
    }
    if (calm) for (const name of names) well.set(name, true);
    if (!calm && random.int(15) === 0) memory = { armed: false, mark: null };
    // the primary writes; followers that are well receive some of it
    wal += BigInt(random.int(3));
    for (const name of names) {
      if (well.get(name) && (calm || random.int(2) === 0)) flushed.set(name, wal);
    }
    // a commit is acknowledged as soon as any setting that somebody still goes by allows it
    if (stale.length > 1 && (calm || random.int(3) === 0)) stale = [text];
    if (text !== '' && random.int(2) === 0) armedTruth = true;
    for (const one of stale) {
      const quorum = parseNames(one, NODES)?.quorum ?? NOBODY;
      const position = wal > 0n ? wal - BigInt(random.int(2)) : 0n;
      const holders = holdersOf(position);
      const passes = quorum.copies <= quorum.nodes.filter((node) => holders.includes(node)).length;
      if ((passes || (text !== '' && !armedTruth)) && position > acknowledged) acknowledged = position;
    }
    hold();
    const parsed = parseNames(text, NODES);
    if (parsed?.quorum.copies === 0) memory.armed = false;
    const step = decideSync({
      wish,
      followers: names.map((name) =>
        well.get(name) ? follower(name, { flushLsn: lsn(flushed.get(name) as bigint) }) : ill(name),
      ),
      setting: { text, names: parsed, fenced: false },
      guarantee,
      recorded: true,
      evident: stale.length === 1,
      unreadForMs: 0,
      topPriority: 1,
      armed: memory.armed,
      mark: memory.mark,
      shortForMs: 5000,
    });
    switch (step.kind) {
      case 'set':
      case 'arm': {
        const written = step.kind === 'arm' ? NO_ACKNOWLEDGEMENT : formatNames(step.names);
        const quorum = parseNames(written, NODES)?.quorum ?? NOBODY;
        assert.ok(
          guarantee.some((g) => implies(quorum, g)),
          `seed ${seed}: ${written} is less than ${JSON.stringify(guarantee)}`,
        );
        text = written;
        memory.mark = null;
        if (written === '') armedTruth = false;
        stale = [...stale, text];
        if (step.kind === 'arm') {
          memory.armed = true;
          armedTruth = true;
        }
        break;
      }
      case 'mark':
        memory.mark = { text, lsn: lsn(wal) };
        break;
      case 'record':
        guarantee = step.guarantee;
        break;
      default:
        settled += step.kind === 'settled' ? 1 : 0;
    }
    hold();
  }
  assert.ok(settled > 0, `seed ${seed}: never settled`);
  assert.equal(copiesOf(guarantee), wish.copies, `seed ${seed}: not confirmed in the end`);
}
