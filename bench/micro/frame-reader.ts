import { FrameReader, type FrameSink } from '../../src/wire/frame-reader.ts';
import { commandComplete, dataRow, query, readyForQuery, rowDescription } from '../../src/wire/writer.ts';
import type { Cost } from './cost.ts';
import { nanosecondsPer } from './stopwatch.ts';

const LIMIT_BYTES = 1 << 20;
/** What a socket's read brings at most. */
const CHUNK_BYTES = 64 * 1024;

/** Cutting a stream into messages, per message. */
export function frameReaderCosts(forMs: number): Cost[] {
  let messages = 0;
  const sink: FrameSink = {
    message: () => {
      messages++;
      return true;
    },
    piece: () => true,
    violation: (reason) => {
      throw new Error(reason);
    },
  };
  const cost = (operation: string, chunks: readonly Buffer[]): Cost => {
    const reader = new FrameReader(sink, LIMIT_BYTES);
    const before = messages;
    for (const chunk of chunks) reader.feed(chunk);
    const each = messages - before;
    const body = () => {
      for (const chunk of chunks) reader.feed(chunk);
    };
    return { operation, ns: nanosecondsPer(forMs, body, each) };
  };
  const answer = Buffer.concat([
    rowDescription(['abalance'], ['int4']),
    dataRow(['4711']),
    commandComplete('SELECT 1'),
    readyForQuery(0x49),
  ]);
  return [
    cost('scan: one Query in a chunk', [query('SELECT abalance FROM pgbench_accounts WHERE aid = 91834;')]),
    cost('scan: answer of four messages in a chunk', [answer]),
    cost('scan: rows of 30 bytes, whole chunks', [filled(30)]),
    cost('scan: rows of 1000 bytes, whole chunks', [filled(1000)]),
    cost('scan: rows of 1000 bytes, cut anywhere', cut(filled(1000))),
    cost('scan: rows of 10,000 bytes, cut anywhere', cut(filled(10_000))),
  ];
}

/** As many rows as fit into a chunk. */
function filled(bytes: number): Buffer {
  const row = dataRow(['x'.repeat(bytes)]);
  return Buffer.concat(Array.from({ length: Math.floor(CHUNK_BYTES / row.length) }, () => row));
}

/** In three, within messages. */
function cut(whole: Buffer): Buffer[] {
  const [first, second] = [Math.floor(whole.length / 3) + 7, Math.floor((whole.length * 2) / 3) + 7];
  return [whole.subarray(0, first), whole.subarray(first, second), whole.subarray(second)];
}
