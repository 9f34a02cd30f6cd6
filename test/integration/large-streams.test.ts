import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type FairleadProcess, startFairleadProcess } from '../support/fairlead-process.ts';
import { bind, copyData, copyDone, execute, parse, q, RawClient, rowsOf, sync } from '../support/raw-client.ts';
import { untilRested, untilServing } from '../support/serving.ts';

const MB = 1024 * 1024;
const VALUE_BYTES = 255 * MB;
const COPY_MB = Number(process.env.FAIRLEAD_COPY_MB ?? 2048);
/** What the proxy may grow by, whatever the size of what passes. */
const GROWTH_BYTES = 160 * MB;
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

describe('streams that are larger than memory should be', () => {
  let cluster: TestCluster;
  let fairlead: FairleadProcess;
  let client: RawClient;
  let beforeBytes = 0;
  let peakBytes = 0;
  let sampler: NodeJS.Timeout | undefined;

  before(async () => {
    cluster = await startTestCluster({ replicas: 0 });
    fairlead = await startFairleadProcess(cluster);
    await untilServing(fairlead, 0);
    client = await RawClient.connect(fairlead.url);
    await client.query('CREATE TABLE copied (line text)');
    beforeBytes = await residentBytes();
    sampler = setInterval(() => {
      residentBytes().then(
        (bytes) => {
          peakBytes = Math.max(peakBytes, bytes);
        },
        () => {},
      );
    }, 50);
  });
  afterEach(async () => {
    assert.ok(peakBytes - beforeBytes < GROWTH_BYTES, `${Math.round((peakBytes - beforeBytes) / MB)} MB more`);
    await untilRested(fairlead);
  });
  after(async () => {
    clearInterval(sampler);
    client?.socket.destroy();
    await fairlead?.stop();
    await cluster?.stop();
  });

  async function residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${fairlead.pid}/status`, 'latin1');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  }

  /** Counts what comes up to ReadyForQuery, without keeping it. */
  async function received(text: string): Promise<number> {
    const reader = await RawClient.connect(fairlead.url);
    reader.socket.removeAllListeners('data');
    let bytes = 0;
    let tail: Buffer = Buffer.alloc(0);
    const done = new Promise<void>((resolve, reject) => {
      reader.socket.on('close', () => reject(new Error(`closed after ${bytes} bytes`)));
      reader.socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        tail = Buffer.concat([tail, chunk.subarray(-READY.length)]).subarray(-READY.length);
        if (tail.equals(READY)) resolve();
      });
    });
    reader.send(q(text));
    await done;
    reader.socket.destroy();
    return bytes;
  }

  it('a value of 255 MB comes out', { timeout: 150_000 }, async () => {
    assert.ok((await received(`SELECT repeat('x', ${VALUE_BYTES})`)) > VALUE_BYTES);
  });

  it('a parameter of 255 MB goes in', { timeout: 150_000 }, async () => {
    const value = Buffer.alloc(VALUE_BYTES, 'y');
    client.send(parse('SELECT length($1::text)', 'long'), bind('long', { values: [value] }), execute(), sync);
    assert.deepEqual(rowsOf(await client.untilReady(1, 150_000)), [[String(VALUE_BYTES)]]);
  });

  it(`COPY of ${COPY_MB} MB goes out`, { timeout: 150_000 }, async () => {
    const rows = `SELECT repeat('x', ${MB - 1}) FROM generate_series(1, ${COPY_MB})`;
    assert.ok((await received(`COPY (${rows}) TO STDOUT`)) > COPY_MB * MB);
  });

  it(`COPY of ${COPY_MB} MB goes in`, { timeout: 150_000 }, async () => {
    client.send(q('COPY copied FROM STDIN WHERE false'));
    await client.untilType('G');
    const line = copyData(`${'z'.repeat(MB - 1)}\n`);
    for (let i = 0; i < COPY_MB; i++) {
      if (!client.socket.write(line)) await new Promise((resolve) => client.socket.once('drain', resolve));
    }
    client.send(copyDone);
    const [done] = await client.untilReady(1, 150_000);
    assert.equal(done?.body.toString('latin1'), 'COPY 0\0');
  });

  it('a message of COPY as long as PostgreSQL takes it', { timeout: 150_000 }, async () => {
    client.send(q('COPY copied FROM STDIN WHERE false'));
    await client.untilType('G');
    const size = 1023 * MB;
    const head = Buffer.from([0x64, 0, 0, 0, 0]);
    head.writeInt32BE(size + 4, 1);
    client.socket.write(head);
    const lines = Buffer.alloc(MB, `${'w'.repeat(1023)}\n`);
    for (let i = 0; i < 1023; i++) {
      if (!client.socket.write(lines)) await new Promise((resolve) => client.socket.once('drain', resolve));
    }
    client.send(copyDone);
    assert.equal((await client.untilReady(1, 150_000)).map(({ type }) => type).join(''), 'CZ');
  });
});
