import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { randomFrom } from '../support/random.ts';
import { bind, execute, parse, q, RawClient, sqlStateOf, sync } from '../support/raw-client.ts';
import { untilServing } from '../support/serving.ts';

const STRESS_MS = 4000;
/** A machine that is busy with something else gets longer for as many as prove something. */
const LONGEST_MS = 60_000;
const ENOUGH = 10;

/** Two server connections, many sessions, and cancel requests that come just when statements end. */
describe('a cancel request hits the statement it is meant for, and no other', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const open: RawClient[] = [];

  async function client(): Promise<RawClient> {
    const one = await RawClient.connect(fairlead.url);
    open.push(one);
    return one;
  }

  before(async () => {
    cluster = await startTestCluster({ replicas: 0 });
    fairlead = await startFairlead(cluster, { config: { pool: { size: 2 } } });
    await untilServing(fairlead, 0);
  });
  after(async () => {
    for (const one of open) one.vanish();
    await fairlead?.stop();
    await cluster?.stop();
  });

  it('in the race with its end, under load', async (t) => {
    const seed = Number(process.env.FAIRLEAD_SEED ?? 7);
    const draws = randomFrom(seed);
    const random = () => draws.int(1000) / 1000;
    const startedMs = performance.now();
    const sleep = (ms: number) => `SELECT pg_sleep(${(ms / 1000).toFixed(5)})`;
    let hit = 0;
    let late = 0;
    const goesOn = () => {
      const tookMs = performance.now() - startedMs;
      return tookMs < STRESS_MS || (Math.min(hit, late) < ENOUGH && tookMs < LONGEST_MS);
    };
    async function canceller(): Promise<void> {
      const one = await client();
      while (goesOn()) {
        const ms = 0.2 + random();
        const answer = one.ask(
          random() < 0.5 ? q(sleep(ms)) : Buffer.concat([parse(sleep(ms)), bind(), execute(), sync]),
        );
        await new Promise((resolve) => setTimeout(resolve, 1 + random() * 9));
        const cancelled = one.cancel();
        const sqlState = sqlStateOf(await answer);
        if (sqlState === '57014') hit++;
        else late++;
        assert.ok(sqlState === null || sqlState === '57014');
        // what it sends when its cancel request is through is not meant either
        await cancelled;
        assert.equal(sqlStateOf(await one.ask(q(sleep(0.5)))), null, 'its own next statement was cancelled');
      }
    }
    async function neighbour(block: boolean): Promise<number> {
      const one = await client();
      let answered = 0;
      while (goesOn()) {
        const texts = block ? ['BEGIN', sleep(0.3), sleep(0.3), 'COMMIT'] : [sleep(random())];
        for (const text of texts) assert.equal(sqlStateOf(await one.ask(q(text))), null, 'a neighbour was cancelled');
        answered++;
      }
      return answered;
    }
    const cancellers = Array.from({ length: 3 }, canceller);
    const answered = await Promise.all([neighbour(false), neighbour(true)]);
    await Promise.all(cancellers);
    t.diagnostic(`${hit} cancelled, ${late} too late, neighbours' statements: ${answered.join(', ')}`);
    assert.ok(hit >= ENOUGH && late >= ENOUGH, `${hit} hit, ${late} late: no race`);
  });

  it('inside a transaction what follows is not hit either', async () => {
    const one = await client();
    for (let i = 0; i < 100; i++) {
      await one.query('BEGIN');
      const answer = one.ask(q('SELECT pg_sleep(0.002)'));
      await new Promise((resolve) => setTimeout(resolve, i % 6));
      const cancelled = one.cancel();
      const state = sqlStateOf(await answer);
      await cancelled;
      const next = sqlStateOf(await one.ask(q('SELECT pg_sleep(0.002)')));
      assert.equal(next, state === null ? null : '25P02');
      await one.query('ROLLBACK');
    }
  });
});
