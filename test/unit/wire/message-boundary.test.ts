import assert from 'node:assert/strict';
import { it } from 'node:test';
import { MessageBoundary } from '../../../src/wire/message-boundary.ts';
import { commandComplete, dataRow, PARSE_COMPLETE } from '../../../src/wire/writer.ts';

it('MessageBoundary knows where messages end, however the stream is cut', () => {
  const parts = [commandComplete('SELECT 1'), PARSE_COMPLETE, dataRow(['x'.repeat(50)]), PARSE_COMPLETE];
  const stream = Buffer.concat(parts);
  const ends = new Set([0]);
  for (let i = 0, at = 0; i < parts.length; i++) {
    at += (parts[i] as Buffer).length;
    ends.add(at);
  }
  for (let step = 1; step <= stream.length; step++) {
    const boundary = new MessageBoundary();
    for (let at = 0; at < stream.length; at += step) {
      boundary.pass(stream.subarray(at, at + step));
      const passed = Math.min(at + step, stream.length);
      assert.equal(boundary.between, ends.has(passed), `${passed} bytes in steps of ${step}`);
    }
  }
});
