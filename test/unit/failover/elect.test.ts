import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Candidate, type ElectionRules, elect, vetoesInWords } from '../../../src/failover/elect.ts';
import { at, SYSTEM } from './fixture.ts';

const RULES: ElectionRules = { systemId: SYSTEM, timeline: 1, newestLsn: at(1000), maxLossBytes: 100, to: null };

type Position = NonNullable<Candidate['position']>;

function candidate(
  name: string,
  lsn: number,
  position: Partial<Position> = {},
  change: Partial<Candidate> = {},
): Candidate {
  const stands = { systemId: SYSTEM, timeline: 1, receiveLsn: at(lsn), replayLsn: at(lsn), paused: false, ...position };
  return { name, weight: 1, promotable: true, drained: false, position: stands, veto: null, ...change };
}

type Case = {
  readonly name: string;
  readonly candidates: readonly Candidate[];
  readonly rules?: Partial<ElectionRules>;
  readonly elected: string | null;
  readonly vetoes?: RegExp;
};

const GONE: Partial<Candidate> = { position: null };

const CASES: readonly Case[] = [
  { name: 'the most advanced', candidates: [candidate('pg2', 990), candidate('pg3', 1000)], elected: 'pg3' },
  {
    name: 'received counts, not replayed: promotion replays what is there',
    candidates: [candidate('pg2', 1000, { replayLsn: at(10) }), candidate('pg3', 990)],
    elected: 'pg2',
  },
  { name: 'nobody among nobody', candidates: [], elected: null },
  {
    name: 'a tie goes by weight',
    candidates: [candidate('pg2', 1000), candidate('pg3', 1000, {}, { weight: 2 })],
    elected: 'pg3',
  },
  { name: 'then by name', candidates: [candidate('pg3', 1000), candidate('pg2', 1000)], elected: 'pg2' },
  {
    name: 'a drained one only when none is as far',
    candidates: [candidate('pg2', 1000, {}, { drained: true, weight: 9 }), candidate('pg3', 1000)],
    elected: 'pg3',
  },
  {
    name: 'a drained one that is further wins: data before comfort',
    candidates: [candidate('pg2', 1000, {}, { drained: true }), candidate('pg3', 999)],
    elected: 'pg2',
  },
  {
    name: '15: a stale replica within the bound',
    candidates: [candidate('pg2', 900), candidate('pg3', 1000, {}, GONE)],
    elected: 'pg2',
    vetoes: /pg3: does not answer as a replica/,
  },
  {
    name: '15: a stale replica beyond the bound is refused with the numbers',
    candidates: [candidate('pg2', 899)],
    elected: null,
    vetoes: /pg2: up to 101 bytes would be lost, failover.max_loss is 100/,
  },
  {
    name: '15: an operator may accept the loss',
    candidates: [candidate('pg2', 1)],
    rules: { maxLossBytes: Number.POSITIVE_INFINITY },
    elected: 'pg2',
  },
  {
    name: '21: another timeline is another lineage',
    candidates: [candidate('pg2', 2000, { timeline: 2 }), candidate('pg3', 1000)],
    elected: 'pg3',
    vetoes: /pg2: on timeline 2, the primary was on 1/,
  },
  {
    name: '46: another system identifier',
    candidates: [candidate('pg2', 2000, { systemId: '42' }), candidate('pg3', 1000)],
    elected: 'pg3',
    vetoes: /pg2: another cluster: system identifier 42/,
  },
  {
    name: '22: a cascading replica is not ahead of a direct one that is further',
    candidates: [candidate('leaf', 990), candidate('direct', 1000)],
    elected: 'direct',
  },
  {
    name: '27: paused and far behind what it received',
    candidates: [candidate('pg2', 100_000_000, { replayLsn: at(0), paused: true }), candidate('pg3', 99_999_990)],
    rules: { newestLsn: at(100_000_000) },
    elected: 'pg3',
    vetoes: /pg2: its replay is paused/,
  },
  {
    name: '27: paused with little to replay: promotion ends the pause',
    candidates: [candidate('pg2', 1000, { replayLsn: at(10), paused: true })],
    elected: 'pg2',
  },
  {
    name: 'not promotable, however far',
    candidates: [candidate('pg2', 1000, {}, { promotable: false }), candidate('pg3', 990)],
    elected: 'pg3',
    vetoes: /pg2: configured as not promotable/,
  },
  {
    name: '25: one that failed before is passed over',
    candidates: [candidate('pg2', 1000, {}, { veto: 'could not be promoted' }), candidate('pg3', 990)],
    elected: 'pg3',
    vetoes: /pg2: could not be promoted/,
  },
  {
    name: 'an operator’s choice, even if another is further',
    candidates: [candidate('pg2', 1000), candidate('pg3', 950)],
    rules: { to: 'pg3' },
    elected: 'pg3',
    vetoes: /pg2: pg3 was asked for/,
  },
  {
    name: 'no primary known: the highest timeline among the replicas',
    candidates: [candidate('pg2', 5000), candidate('pg3', 1000, { timeline: 2 })],
    rules: { timeline: 0, newestLsn: at(0), systemId: null },
    elected: 'pg3',
  },
];

describe('elect', () => {
  for (const { name, candidates, rules, elected, vetoes } of CASES) {
    it(name, () => {
      const election = elect(candidates, { ...RULES, ...rules });
      assert.equal(election.elected, elected);
      if (vetoes !== undefined) assert.match(vetoesInWords(election), vetoes);
    });
  }

  it('tells the bound of the loss', () => {
    assert.equal(elect([candidate('pg2', 940)], RULES).lossBytes, 60);
    assert.equal(elect([candidate('pg2', 2000)], RULES).lossBytes, 0);
  });
});

type Forward = {
  readonly name: string;
  readonly candidates: readonly Candidate[];
  readonly rules?: Partial<ElectionRules>;
  /** Who fetches from whom; null: nobody does. */
  readonly forward: readonly [string, string] | null;
};

const BEHIND = 16 * 1024 * 1024;
const FAR = at(2 * BEHIND);

const FORWARDS: readonly Forward[] = [
  {
    name: 'the most advanced is not promotable: the next one gets its WAL first',
    candidates: [candidate('pg2', 1000, {}, { promotable: false }), candidate('pg3', 990)],
    forward: ['pg3', 'pg2'],
  },
  {
    name: 'of two the one of greater weight, although the other one is closer',
    candidates: [
      candidate('pg2', 1000, {}, { promotable: false }),
      candidate('pg3', 990),
      candidate('pg4', 980, {}, { weight: 2 }),
    ],
    forward: ['pg4', 'pg2'],
  },
  {
    name: 'unless it lacks much',
    candidates: [
      candidate('pg2', 2 * BEHIND, {}, { promotable: false }),
      candidate('pg3', 2 * BEHIND - 10),
      candidate('pg4', 1000, {}, { weight: 2 }),
    ],
    rules: { newestLsn: FAR },
    forward: ['pg3', 'pg2'],
  },
  {
    name: 'however much it lacks, where nobody else can be promoted with it',
    candidates: [candidate('pg2', 2 * BEHIND, {}, { promotable: false }), candidate('pg3', 1000)],
    rules: { newestLsn: FAR },
    forward: ['pg3', 'pg2'],
  },
  {
    name: 'greater weight, a little behind',
    candidates: [candidate('pg2', 1000), candidate('pg3', 990, {}, { weight: 2 })],
    forward: ['pg3', 'pg2'],
  },
  {
    name: 'greater weight, far behind',
    candidates: [candidate('pg2', 2 * BEHIND), candidate('pg3', 1000, {}, { weight: 2 })],
    rules: { newestLsn: FAR },
    forward: null,
  },
  {
    name: 'preferred, but its replay is paused, and that is not ended for a preference',
    candidates: [candidate('pg2', 1000), candidate('pg3', 990, { paused: true }, { weight: 9 })],
    forward: null,
  },
  {
    name: 'both are paused: nor then',
    candidates: [candidate('pg2', 1000, { paused: true }), candidate('pg3', 990, { paused: true }, { weight: 9 })],
    forward: null,
  },
  {
    name: 'the most advanced one is paused: the other one is preferred',
    candidates: [candidate('pg2', 1000, { paused: true }, { weight: 9 }), candidate('pg3', 990)],
    forward: ['pg3', 'pg2'],
  },
  {
    name: 'the most advanced one is paused: the other one fetches from it however much that is',
    candidates: [candidate('pg2', 50_000_000, { paused: true }), candidate('pg3', 1000)],
    forward: ['pg3', 'pg2'],
  },
  {
    name: 'needed: one that is paused comes after one that lacks far more',
    candidates: [
      candidate('pg2', 50_000_000, {}, { promotable: false }),
      candidate('pg3', 49_999_000, { paused: true }),
      candidate('pg4', 1000),
    ],
    forward: ['pg4', 'pg2'],
  },
  {
    name: 'needed: one that is paused comes after one that is not',
    candidates: [
      candidate('pg2', 1000, {}, { promotable: false }),
      candidate('pg3', 990, { paused: true }, { weight: 9 }),
      candidate('pg4', 980),
    ],
    forward: ['pg4', 'pg2'],
  },
  {
    name: 'needed: where there is no other, one that is paused',
    candidates: [candidate('pg2', 1000, {}, { promotable: false }), candidate('pg3', 990, { paused: true })],
    forward: ['pg3', 'pg2'],
  },
  { name: 'equal weight', candidates: [candidate('pg2', 1000), candidate('pg3', 990)], forward: null },
  {
    name: 'a drained one is ahead',
    candidates: [candidate('pg2', 1000, {}, { drained: true }), candidate('pg3', 990)],
    forward: ['pg3', 'pg2'],
  },
  {
    name: 'what was tried in vain is not tried again',
    candidates: [candidate('pg2', 1000), candidate('pg3', 990, {}, { weight: 2, notForwarded: 'it died' })],
    forward: null,
  },
  {
    name: 'not from a node that is fenced, or of another timeline or cluster',
    candidates: [
      candidate('pg2', 1000, {}, { veto: 'was primary of timeline 1', promotable: false }),
      candidate('pg4', 1000, { timeline: 2 }, { promotable: false }),
      candidate('pg5', 1000, { systemId: '8' }, { promotable: false }),
      candidate('pg3', 990),
    ],
    forward: null,
  },
  {
    name: 'not where even the most advanced one lacks more than may be lost',
    candidates: [candidate('pg2', 800, {}, { promotable: false }), candidate('pg3', 790)],
    forward: null,
  },
  {
    name: 'one that would lack acknowledged commits all the same gains nothing',
    candidates: [
      candidate('pg2', 1000, {}, { promotable: false }),
      candidate('pg3', 990, {}, { doubt: 'x', doubtForwarded: 'pg4 does not tell' }),
    ],
    forward: null,
  },
  {
    name: 'one that lacks acknowledged commits only until then is the one',
    candidates: [
      candidate('pg2', 1000, {}, { promotable: false }),
      candidate('pg3', 990, {}, { doubt: 'pg2 is ahead', doubtForwarded: null }),
    ],
    forward: ['pg3', 'pg2'],
  },
  {
    name: 'a planned change has made its target ready',
    candidates: [candidate('pg2', 1000, {}, { promotable: false }), candidate('pg3', 990)],
    rules: { mayForward: false },
    forward: null,
  },
];

describe('fetching what a replica lacks before it is promoted', () => {
  for (const { name, candidates, rules, forward } of FORWARDS) {
    it(name, () => {
      const election = elect(candidates, { ...RULES, mayForward: true, ...rules });
      assert.deepEqual(election.forward === null ? null : [election.forward.node, election.forward.source], forward);
    });
  }
});
