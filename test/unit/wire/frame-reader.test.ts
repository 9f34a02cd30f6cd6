import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FrameReader, type FrameSink } from '../../../src/wire/frame-reader.ts';
import { message } from '../../../src/wire/writer.ts';

type Seen = { readonly kind: 'message' | 'piece'; readonly offset: number; readonly bytes: Buffer };

/** Notes what it gets; what it answers and does meanwhile is the test's. */
class Notes implements FrameSink {
  readonly seen: Seen[] = [];
  readonly violations: string[] = [];
  goOn: () => boolean = () => true;

  message(type: number, buffer: Buffer, start: number, end: number): boolean {
    assert.equal(buffer[start], type);
    this.seen.push({ kind: 'message', offset: 0, bytes: Buffer.from(buffer.subarray(start, end)) });
    return this.goOn();
  }

  piece(type: number, length: number, offset: number, buffer: Buffer, start: number, end: number): boolean {
    assert.ok(end > start && offset + end - start <= length);
    if (offset === 0) assert.equal(buffer[start], type);
    this.seen.push({ kind: 'piece', offset, bytes: Buffer.from(buffer.subarray(start, end)) });
    return this.goOn();
  }

  violation(reason: string): void {
    this.violations.push(reason);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.seen.map((s) => s.bytes));
  }
}

const body = (size: number, fill: number) => Buffer.alloc(size, fill);
const STREAM = Buffer.concat([
  message(0x51, body(0, 0)),
  message(0x50, body(3, 1)),
  message(0x53, body(0, 0)),
  message(0x42, body(60, 2)),
  message(0x48, body(1, 3)),
  message(0x64, body(31, 4)),
  message(0x58, body(0, 0)),
]);
const LIMIT = 32;
const STREAMED = new Set(STREAM);

/** Messages and runs of pieces, put together again. */
function joined(seen: readonly Seen[]): Buffer[] {
  const out: Buffer[] = [];
  for (const one of seen) {
    if (one.kind === 'piece' && one.offset > 0) {
      const last = out.length - 1;
      assert.equal(out[last]?.length, one.offset, 'pieces follow one another');
      out[last] = Buffer.concat([out[last] as Buffer, one.bytes]);
    } else out.push(one.bytes);
  }
  return out;
}

const WHOLE = (() => {
  const notes = new Notes();
  new FrameReader(notes, 1000).feed(STREAM);
  return notes.seen.map((s) => s.bytes);
})();

describe('FrameReader', () => {
  it('cuts a stream into messages without copying what lies whole in its chunk', () => {
    assert.deepEqual(
      WHOLE.map((m) => m.length),
      [5, 8, 5, 65, 6, 36, 5],
    );
    let same = false;
    const reader = new FrameReader(
      { message: (_t, buffer) => (same = buffer === STREAM), piece: () => true, violation: () => {} },
      LIMIT,
      STREAMED,
    );
    reader.feed(STREAM);
    assert.equal(same, true);
  });

  it('gives the same messages wherever the stream is split, once and twice', () => {
    for (let a = 0; a <= STREAM.length; a++) {
      for (let b = a; b <= STREAM.length; b += 1 + (a % 3)) {
        const notes = new Notes();
        const reader = new FrameReader(notes, LIMIT, STREAMED);
        for (const chunk of [STREAM.subarray(0, a), STREAM.subarray(a, b), STREAM.subarray(b)]) reader.feed(chunk);
        assert.deepEqual(joined(notes.seen), WHOLE, `split at ${a} and ${b}`);
        for (const one of notes.seen) {
          if (one.kind === 'piece' && one.offset === 0) assert.ok(one.bytes.length >= LIMIT, `split at ${a} and ${b}`);
        }
      }
    }
  });

  it('gives the same messages byte by byte', () => {
    for (const limit of [5, 6, LIMIT, 1000]) {
      const notes = new Notes();
      const reader = new FrameReader(notes, limit, STREAMED);
      for (const byte of STREAM) reader.feed(Buffer.from([byte]));
      assert.deepEqual(joined(notes.seen), WHOLE);
    }
  });

  it('hands on the first piece of a message with at least the limit, however it was split', () => {
    // a Bind whose names were cut off from its first piece was taken for malformed
    const large = message(0x42, body(100, 7));
    for (const cut of [1, 4, 5, 6, 12, LIMIT - 1, LIMIT, LIMIT + 1]) {
      const notes = new Notes();
      const reader = new FrameReader(notes, LIMIT, STREAMED);
      reader.feed(large.subarray(0, cut));
      reader.feed(large.subarray(cut));
      assert.equal(notes.seen[0]?.kind, 'piece');
      assert.ok((notes.seen[0]?.bytes.length ?? 0) >= LIMIT);
      assert.deepEqual(notes.bytes, large);
    }
  });

  it('stops after each message and goes on from outside, losing nothing', () => {
    for (let split = 0; split <= STREAM.length; split++) {
      const notes = new Notes();
      notes.goOn = () => false;
      const reader = new FrameReader(notes, LIMIT, STREAMED);
      reader.feed(STREAM.subarray(0, split));
      reader.feed(STREAM.subarray(split));
      for (let turn = 0; turn < 50; turn++) {
        const before = notes.seen.length;
        reader.resume();
        assert.ok(notes.seen.length - before <= 1, 'one message for each resume');
      }
      assert.deepEqual(joined(notes.seen), WHOLE, `split at ${split}`);
      assert.equal(reader.backlogBytes, 0);
    }
  });

  it('counts what waits', () => {
    const notes = new Notes();
    notes.goOn = () => false;
    const reader = new FrameReader(notes, LIMIT, STREAMED);
    reader.feed(STREAM);
    assert.equal(reader.stopped, true);
    assert.equal(reader.backlogBytes, STREAM.length - 5);
    reader.feed(Buffer.from([0x53]));
    assert.equal(reader.backlogBytes, STREAM.length - 4);
    assert.deepEqual(reader.takeBacklog(), Buffer.concat([STREAM.subarray(5), Buffer.from([0x53])]));
    assert.equal(reader.takeBacklog(), null);
    reader.resume();
    reader.feed(STREAM);
    assert.equal(notes.seen.length, 1, 'whoever gave its backlog away reads nothing further');
  });

  it('may be stopped, resumed and fed from inside the sink', () => {
    const notes = new Notes();
    const reader = new FrameReader(notes, LIMIT, STREAMED);
    notes.goOn = () => {
      reader.stop();
      reader.resume();
      if (notes.seen.length === 1) reader.feed(message(0x51, body(2, 9)));
      return true;
    };
    reader.feed(STREAM);
    assert.deepEqual(joined(notes.seen), [...WHOLE, message(0x51, body(2, 9))]);
    notes.goOn = () => {
      reader.stop();
      return true;
    };
    reader.feed(STREAM);
    assert.equal(notes.seen.at(-1)?.bytes.length, 5);
    assert.equal(reader.backlogBytes, STREAM.length - 5);
  });

  it('reads nothing further once it was ended, also from inside the sink', () => {
    const notes = new Notes();
    const reader = new FrameReader(notes, LIMIT, STREAMED);
    notes.goOn = () => {
      reader.end();
      return true;
    };
    reader.feed(STREAM);
    reader.feed(STREAM);
    reader.resume();
    assert.equal(notes.seen.length, 1);
  });

  it('refuses lengths below four, whole and split', () => {
    for (const length of [0, 1, 3, -1, -(2 ** 31)]) {
      const header = Buffer.alloc(5, 0x51);
      header.writeInt32BE(length, 1);
      for (let split = 0; split <= 5; split++) {
        const notes = new Notes();
        const reader = new FrameReader(notes, LIMIT, STREAMED);
        reader.feed(message(0x53, body(0, 0)));
        reader.feed(header.subarray(0, split));
        reader.feed(header.subarray(split));
        reader.feed(STREAM);
        assert.deepEqual(notes.violations, [`message length ${length}`]);
        assert.equal(notes.seen.length, 1);
      }
    }
  });

  it('refuses a message above the limit at its header, unless its type may be larger', () => {
    const large = message(0x50, body(LIMIT, 1));
    for (let split = 0; split <= large.length; split++) {
      const notes = new Notes();
      const reader = new FrameReader(notes, LIMIT, new Set([0x64]));
      reader.feed(large.subarray(0, split));
      assert.equal(notes.violations.length, split < 5 ? 0 : 1);
      reader.feed(large.subarray(split));
      assert.deepEqual(notes.violations, [`message of type P with ${LIMIT + 4} bytes`]);
      assert.equal(notes.seen.length, 0);
    }
  });

  it('bears the largest length there is', () => {
    const notes = new Notes();
    const reader = new FrameReader(notes, LIMIT, STREAMED);
    reader.feed(Buffer.from([0x64, 0x3f, 0xff, 0xff, 0xfe]));
    for (let i = 0; i < 10; i++) reader.feed(body(100, 1));
    assert.deepEqual(notes.violations, []);
    assert.equal(notes.bytes.length, 1005);
  });

  it('refuses a length that a rewritten message could not hold', () => {
    // a Bind of 0x7fffffff bytes whose statement name grew overflowed its length field and ended the process
    const notes = new Notes();
    const reader = new FrameReader(notes, LIMIT, STREAMED);
    reader.feed(Buffer.from([0x64, 0x7f, 0xff, 0xff, 0xff]));
    assert.equal(notes.violations.length, 1);
  });
});
