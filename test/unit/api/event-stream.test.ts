import assert from 'node:assert/strict';
import { get, type IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ApiFixture, failoverEvent } from '../../support/api-fixture.ts';
import type { Json } from '../../support/http.ts';

type Message = { name: string; data: Json };

function open(url: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(`${url}/api/stream`, { agent: false }, resolve).on('error', reject);
  });
}

/** Reads messages until one passes. */
async function until(response: IncomingMessage, passes: (m: Message) => boolean): Promise<Message[]> {
  const seen: Message[] = [];
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const match = /event: (\w+)\ndata: (.*)$/m.exec(text.slice(0, end));
      text = text.slice(end + 2);
      if (match === null) continue;
      const message = { name: match[1] as string, data: JSON.parse(match[2] as string) };
      seen.push(message);
      if (passes(message)) return seen;
    }
  }
  throw new Error('the stream ended');
}

/** Bytes that somebody still holds. */
function inUse(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('EventStream', { timeout: 50_000 }, () => {
  it('begins with everything and goes on', async () => {
    const fixture = new ApiFixture();
    const url = await fixture.start();
    fixture.healthy();
    try {
      const first = await until(await open(url), (m) => m.name === 'events');
      assert.deepEqual(
        first.map((m) => m.name),
        ['cluster', 'lag', 'traffic', 'events'],
      );
      const response = await open(url);
      const told = until(response, (m) => m.name === 'event');
      const moved = open(url).then((r) => until(r, (m) => m.name === 'cluster' && m.data.primary === null));
      const timer = setInterval(() => fixture.happen(failoverEvent()), 50);
      fixture.assign(null, 'suspect');
      try {
        assert.equal((await told).at(-1)?.data.kind, 'failover');
        assert.equal((await moved).at(-1)?.data.phase, 'suspect');
      } finally {
        clearInterval(timer);
      }
    } finally {
      await fixture.stop();
    }
  });

  it('queues nothing for a consumer that does not read', async () => {
    const fixture = new ApiFixture();
    const url = await fixture.start();
    fixture.healthy();
    try {
      const slow = await open(url);
      slow.pause();
      const before = inUse();
      const large = failoverEvent({ message: 'x'.repeat(100_000) });
      // 400 MB in all, far more than the sockets' buffers take
      for (let i = 0; i < 4000; i++) {
        fixture.happen({ ...large, id: String(i) });
        fixture.stored = [];
        if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      const grown = inUse() - before;
      assert.ok(grown < 150_000_000, `${grown} bytes`);
      slow.destroy();
    } finally {
      await fixture.stop();
    }
  });
});
