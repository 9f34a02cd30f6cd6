import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Exchange, type ExchangeOwner } from '../../../src/backend/exchange.ts';
import { ExchangeQueue } from '../../../src/backend/exchange-queue.ts';
import { NOBODY } from '../../../src/backend/nobody.ts';

describe('ExchangeQueue', () => {
  it('counts changes of statements as they were when submitted: a batch that grew made later ones invisible', () => {
    const queue = new ExchangeQueue();
    const grows = new Exchange(NOBODY, true, 0);
    queue.push(grows);
    grows.changesStatements = true;
    queue.shift(grows);
    const changes = new Exchange(NOBODY, true, 0);
    changes.changesStatements = true;
    queue.push(changes);
    assert.equal(queue.changesStatements, true);
    queue.shift(changes);
    assert.equal(queue.changesStatements, false);
  });

  it('displaces all but the head, and tells their owners once', () => {
    const queue = new ExchangeQueue();
    const displaced: Exchange[] = [];
    const owner: ExchangeOwner = { ...NOBODY, displaced: (exchange) => displaced.push(exchange) };
    const all = [1, 2, 3].map(() => new Exchange(owner, false, 0));
    for (const exchange of all) queue.push(exchange);
    assert.equal(queue.displaceWaiting(), 2);
    assert.deepEqual(displaced, all.slice(1));
    assert.equal(queue.displaceWaiting(), 0);
    assert.equal(queue.length, 3, 'their answers are still to come');
    assert.equal(all[1]?.discard, true);
    assert.equal(all[0]?.discard, false);
  });

  it('marks as sent what was not, once', () => {
    const queue = new ExchangeQueue();
    const [a, b] = [new Exchange(NOBODY, false, 0), new Exchange(NOBODY, false, 0)] as const;
    queue.push(a);
    queue.markSent();
    const { sentMs } = a;
    queue.push(b);
    assert.equal(b.sent, false);
    queue.markSent();
    assert.equal(b.sent, true);
    assert.equal(a.sentMs, sentMs);
  });
});
