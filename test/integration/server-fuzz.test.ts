import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type FairleadProcess, startFairleadProcess } from '../support/fairlead-process.ts';
import { isLegal, MEDDLING, Meddler, type Meddling } from '../support/meddler.ts';
import { untilNobodyIsThere } from '../support/nobody-there.ts';
import { type Random, randomFrom } from '../support/random.ts';
import {
  bind,
  closeStatement,
  copyData,
  copyDone,
  describePortal,
  execute,
  flush,
  parse,
  q,
  RawClient,
  rowsOf,
  sync,
  typesOf,
} from '../support/raw-client.ts';
import { SEED } from '../support/seed.ts';
import { untilRested, untilServing } from '../support/serving.ts';

/** FAIRLEAD_SEED=… meddles in the same way again; FAIRLEAD_FUZZ_SECONDS=… goes on longer. */
const FUZZ_MS = Number(process.env.FAIRLEAD_FUZZ_SECONDS ?? 30) * 1000;
const AT_ONCE = 8;
/** After this a client leaves. */
const PATIENCE_MS = 700;

describe(`a server whose words are meddled with (FAIRLEAD_SEED=${SEED})`, () => {
  let cluster: TestCluster;
  let fairlead: FairleadProcess;
  let meddler: Meddler;
  let connections = 0;
  let kinds: readonly Meddling[] = ['none'];

  before(async () => {
    cluster = await startTestCluster({ replicas: 0 });
    const [node] = cluster.nodes;
    if (node === undefined) throw new Error('no node');
    await node.query(
      `CREATE ROLE fuzz LOGIN PASSWORD 'fuzz'; CREATE TABLE fuzzed (id int, text text); GRANT ALL ON fuzzed TO fuzz`,
    );
    meddler = await Meddler.start(node, 'fuzz', () => {
      const random = randomFrom(SEED + connections++);
      return { meddling: kinds[random.int(kinds.length)] as Meddling, random };
    });
    const { superuser, password } = cluster;
    const between = { ...cluster, nodes: [{ ...node, port: meddler.port }] };
    fairlead = await startFairleadProcess(between, {
      pool: { size: 4, connect_timeout: '5s', server_lifetime: '300ms' },
      auth: { users: { [superuser]: password, fuzz: 'fuzz' } },
    });
    await untilServing(fairlead, 0);
  });
  after(async () => {
    assert.equal(await fairlead?.stop(), 0);
    meddler?.stop();
    await cluster?.stop();
  });

  it('is understood when what is done is legal', async () => {
    kinds = MEDDLING.filter(isLegal);
    await workUntil(performance.now() + FUZZ_MS / 4, true);
    await rested();
  });

  it('brings down nobody else when it is not', async () => {
    kinds = MEDDLING;
    const endMs = performance.now() + FUZZ_MS;
    const neighbours = Promise.all(Array.from({ length: 3 }, () => neighbour(endMs)));
    await workUntil(endMs, false);
    await neighbours;
    kinds = ['none'];
    await rested();
    assert.ok(connections > 50, `only ${connections} connections`);
  });

  async function rested(): Promise<void> {
    await untilRested(fairlead);
    await untilNobodyIsThere(fairlead.url);
    assert.deepEqual(fairlead.complaints(), []);
    assert.ok((await fairlead.memory()) < 512 * 1024 * 1024);
  }

  async function workUntil(endMs: number, right: boolean): Promise<void> {
    let turn = 0;
    const worker = async () => {
      while (performance.now() < endMs) await work(randomFrom(SEED * 7 + turn++), right);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  /** @param right every answer must be; otherwise there need not even be one */
  async function work(random: Random, right: boolean): Promise<void> {
    const url = fairlead.url.replace(/\/\/[^@]+@/, '//fuzz:fuzz@');
    const client = new RawClient(url);
    try {
      await client.logIn();
      for (let i = random.int(6); i >= 0; i--) await exchange(client, random, right ? 30_000 : PATIENCE_MS);
    } catch (error) {
      if (right) throw error;
    } finally {
      if (right) await client.end();
      else client.vanish();
    }
  }

  /** A session of another user. */
  async function neighbour(endMs: number): Promise<void> {
    const client = await RawClient.connect(fairlead.url);
    for (let i = 0; performance.now() < endMs; i++) {
      assert.equal(await client.value(`SELECT ${i}`), String(i));
      await client.query("BEGIN; INSERT INTO fuzzed VALUES (1, 'x')");
      const rows = rowsOf(
        await client.ask(parse('SELECT $1::int'), bind('', { values: [String(i)] }), execute(), sync),
      );
      assert.deepEqual(rows, [[String(i)]]);
      await client.query('ROLLBACK');
    }
    await client.end();
  }
});

/** @throws Error when the answer is not the right one */
async function exchange(client: RawClient, random: Random, patienceMs: number): Promise<void> {
  const number = String(random.int(1e6));
  const heard = async (count: number, ...bytes: readonly Buffer[]) => {
    client.send(...bytes);
    const seen = await client.untilReady(count, patienceMs);
    // asides may come at any time
    return seen.filter(({ type }) => !'NSA'.includes(type));
  };
  const is = (types: string, wanted: string) => assert.equal(types, wanted);
  switch (random.int(7)) {
    case 0:
      return assert.deepEqual(rowsOf(await heard(1, q(`SELECT ${number}`))), [[number]]);
    case 1: {
      const parts = [parse('SELECT $1::int', 's'), bind('s', { values: [number] }), describePortal(), execute()];
      const all = await heard(1, ...parts, closeStatement('s'), parse('SELECT 5'), bind(), sync);
      assert.deepEqual(rowsOf(all), [[number]]);
      return is(typesOf(all), '1 2 T D C 3 1 2 Z');
    }
    case 2:
      return is(
        typesOf(await heard(3, q('BEGIN'), q(`INSERT INTO fuzzed VALUES (${number})`), q('ROLLBACK'))),
        'C Z C Z C Z',
      );
    case 3:
      return is(typesOf(await heard(1, q('COPY fuzzed FROM STDIN'), copyData('1\tx\n'), copyDone)), 'G C Z');
    case 4: {
      const rows = rowsOf(
        await heard(1, q(`SELECT repeat('x', ${random.int(9000)}), i FROM generate_series(1, 20) i`)),
      );
      return assert.deepEqual(
        rows.map(([, i]) => i),
        Array.from({ length: 20 }, (_, i) => String(i + 1)),
      );
    }
    case 5:
      await heard(1, q(`SET application_name = 'fuzz ${number}'`));
      return assert.deepEqual(rowsOf(await heard(1, q('SHOW application_name'))), [[`fuzz ${number}`]]);
    default: {
      client.send(parse('SELECT 1/0'), bind(), execute(), flush);
      return is(typesOf(await heard(1, sync)), '1 E Z');
    }
  }
}
