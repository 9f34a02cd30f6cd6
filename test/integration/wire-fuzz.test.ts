import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startupPacket } from '../../src/wire/startup.ts';
import { cstrings, message } from '../../src/wire/writer.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type FairleadProcess, startFairleadProcess } from '../support/fairlead-process.ts';
import { untilNobodyIsThere } from '../support/nobody-there.ts';
import { type Random, randomFrom } from '../support/random.ts';
import {
  bind,
  closePortal,
  closeStatement,
  copyData,
  copyDone,
  copyFail,
  describePortal,
  describeStatement,
  execute,
  flush,
  parse,
  q,
  RawClient,
  sync,
  terminate,
} from '../support/raw-client.ts';
import { SEED } from '../support/seed.ts';
import { untilRested, untilServing } from '../support/serving.ts';

/** FAIRLEAD_SEED=… runs the same streams again; FAIRLEAD_FUZZ_SECONDS=… goes on longer. */
const FUZZ_MS = Number(process.env.FAIRLEAD_FUZZ_SECONDS ?? 30) * 1000;
const AT_ONCE = 12;
/** A connection that has not ended by then is cut. */
const PATIENCE_MS = 400;

/** Conversations as drivers have them, in messages. */
const CONVERSATIONS: readonly (readonly Buffer[])[] = [
  [q('SELECT 1'), q('SELECT 2; SELECT 3'), q(''), q('SELECT 1/0')],
  [q('BEGIN'), q('INSERT INTO fuzzed VALUES (1)'), q('SAVEPOINT a'), q('ROLLBACK TO a'), q('ROLLBACK')],
  [parse('SELECT $1::int'), bind('', { values: ['7'] }), describePortal(), execute(), sync],
  [parse('SELECT id FROM fuzzed', 's'), describeStatement('s'), flush, bind('s'), execute(1), execute(), sync],
  [parse('SELECT 1', 'a'), sync, bind('a'), execute(), sync, closeStatement('a'), closePortal('b'), sync],
  [parse('SELECT nonsense'), bind(), execute(), sync, parse('SELECT 2'), bind(), execute(), sync],
  [q('COPY fuzzed FROM STDIN'), copyData('1\n2\n'), copyDone, q('SELECT 3')],
  [parse('COPY fuzzed FROM STDIN'), bind(), execute(), sync, copyData('1\n'), copyFail('no'), sync],
  [q('COPY (SELECT generate_series(1, 2000)) TO STDOUT'), parse('COPY fuzzed TO STDOUT'), bind(), execute(), sync],
  [q("SET application_name = 'fuzz'"), q('SET LOCAL work_mem = 100'), q('SHOW work_mem'), q('RESET ALL')],
  [q("SET fairlead.consistency = 'eventual'"), q('SHOW fairlead.route'), q('SHOW fairlead.token')],
  [parse('SHOW fairlead.route'), bind(), describePortal(), execute(), sync, q('DISCARD ALL')],
  [q('CREATE TEMP TABLE t (id int)'), q('LISTEN x'), q("NOTIFY x, 'y'"), q('DEALLOCATE ALL')],
  [parse('BEGIN'), bind(), execute(), flush, q('SELECT 1'), parse('COMMIT'), bind(), execute(), sync],
  [q("SELECT repeat('x', 30000) FROM generate_series(1, 30)"), parse('SELECT $1::text', 'l'), sync],
  [parse('SELECT length($1)', 'big'), bind('big', { values: ['z'.repeat(50_000)] }), execute(), sync],
];

describe(`mutated streams of bytes (FAIRLEAD_SEED=${SEED})`, () => {
  let cluster: TestCluster;
  let fairlead: FairleadProcess;
  let url: string;

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    const { superuser, password } = cluster;
    // a mutation may well make a statement of its own: as a user who can do no harm
    await cluster.node('pg1').query(`
      CREATE ROLE fuzz LOGIN PASSWORD 'fuzz';
      ALTER ROLE fuzz SET statement_timeout = '300ms';
      CREATE TABLE fuzzed (id int);
      GRANT ALL ON fuzzed TO fuzz`);
    fairlead = await startFairleadProcess(cluster, {
      pool: { size: 4 },
      auth: { users: { [superuser]: password, fuzz: 'fuzz' } },
    });
    await untilServing(fairlead, 1);
    url = fairlead.url.replace(/\/\/[^@]+@/, '//fuzz:fuzz@');
  });
  after(async () => {
    assert.equal(await fairlead?.stop(), 0);
    await cluster?.stop();
  });

  it('neither end, nor hang, nor leak', async () => {
    const endMs = performance.now() + FUZZ_MS;
    let next = 0;
    const worker = async () => {
      while (performance.now() < endMs) await attack(randomFrom(SEED + next++));
    };
    // a proxy that has ended says why on stderr
    await Promise.all(Array.from({ length: AT_ONCE }, worker)).catch((error) => {
      assert.deepEqual(fairlead.complaints(), [], error.message);
      throw error;
    });
    await untilRested(fairlead);
    await untilNobodyIsThere(fairlead.url);
    assert.deepEqual(fairlead.complaints(), []);
    const client = await RawClient.connect(fairlead.url);
    for (let i = 0; i < 20; i++) assert.equal(await client.value(`SELECT ${i}`), String(i));
    await client.end();
    assert.ok((await fairlead.memory()) < 512 * 1024 * 1024);
    assert.ok(next > 100, `only ${next} streams`);
  });

  async function attack(random: Random): Promise<void> {
    const early = random.chance(0.15);
    const client = new RawClient(url);
    let bytes: Buffer = Buffer.concat(random.some(CONVERSATIONS, 4).flat());
    try {
      if (early) bytes = Buffer.concat([startup(), bytes]);
      else await client.logIn();
      if (random.chance(0.9)) bytes = mutated(bytes, random);
      if (random.chance(0.3)) bytes = Buffer.concat([bytes, terminate]);
      // one that does not read, for a while or for good
      if (random.chance(0.15)) client.socket.pause();
      for (const piece of cut(bytes, random)) {
        client.socket.write(piece);
        if (random.chance(0.3)) await new Promise((resolve) => setImmediate(resolve));
      }
      if (random.chance(0.3)) return;
      if (random.chance(0.5)) client.socket.end();
      await ended(client, random.chance(0.2) ? PATIENCE_MS : 20);
    } finally {
      if (random.chance(0.5)) client.vanish();
      else client.socket.destroy();
    }
  }
});

function startup(): Buffer {
  const packet = startupPacket([
    ['user', 'fuzz'],
    ['database', 'postgres'],
    ['options', '-c work_mem=1MB'],
  ]);
  return Buffer.concat([
    packet,
    message(0x70, Buffer.concat([cstrings('SCRAM-SHA-256'), Buffer.from('\0\0\0\x05n,,n=')])),
  ]);
}

function ended(client: RawClient, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    client.socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** One to five changes: bytes turned, lost, doubled, moved or put in. */
function mutated(bytes: Buffer, random: Random): Buffer {
  let out: Buffer = Buffer.from(bytes);
  for (let i = random.int(5); i >= 0; i--) {
    const at = random.int(out.length);
    const length = 1 + random.int(random.chance(0.5) ? 8 : 200);
    switch (random.int(6)) {
      case 0:
        out[at] = random.int(256);
        break;
      case 1:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at + length)]);
        break;
      case 2:
        out = Buffer.concat([out.subarray(0, at + length), out.subarray(at)]);
        break;
      case 3:
        out = Buffer.concat([
          out.subarray(0, at),
          Buffer.from(Array.from({ length }, () => random.int(256))),
          out.subarray(at),
        ]);
        break;
      case 4:
        out = out.subarray(0, Math.max(1, at));
        break;
      case 5: {
        const from = random.int(out.length);
        out = Buffer.concat([out.subarray(0, at), out.subarray(from, from + length), out.subarray(at)]);
        break;
      }
    }
  }
  return out;
}

function cut(bytes: Buffer, random: Random): Buffer[] {
  const pieces: Buffer[] = [];
  for (let pos = 0; pos < bytes.length; ) {
    const size = 1 + random.int(random.chance(0.3) ? 7 : 2000);
    pieces.push(bytes.subarray(pos, pos + size));
    pos += size;
  }
  return pieces;
}
