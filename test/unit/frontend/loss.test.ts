import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Exchange, type ExchangeOwner } from '../../../src/backend/exchange.ts';
import { FairleadError } from '../../../src/core/errors.ts';
import { afterLoss } from '../../../src/frontend/loss.ts';
import type { Work } from '../../../src/frontend/work.ts';
import type { Verdict } from '../../../src/sql/verdict.ts';

const owner: ExchangeOwner = { reply() {}, copyIn() {}, finished() {}, refused() {}, lost() {} };
const error = new FairleadError('connection_lost', 'node pg1: connection closed');

/** What becomes of a request of one statement in a transaction block. */
function inTransaction(statementClass: Verdict['class'], sent: boolean) {
  const exchange = new Exchange(owner, false, 0);
  exchange.sent = sent;
  const verdicts = [{ class: statementClass, statements: 1 } as Verdict];
  const work = { kind: 'query', verdicts, synced: true, losses: 0 } as unknown as Work;
  const loss = afterLoss(true, false, exchange, verdicts, work, error);
  assert.equal(loss.kind, 'error');
  return loss.kind === 'error' ? [loss.transaction, loss.error.sqlState] : null;
}

describe('a server connection that breaks in a transaction', () => {
  it('leaves a lost transaction that the client has to end', () => {
    assert.deepEqual(inTransaction('write', true), ['lost', '40001']);
    assert.deepEqual(inTransaction('write', false), ['lost', '40001']);
  });

  it('under COMMIT leaves none, sent or not: a client whose COMMIT failed does not send ROLLBACK, and was refused all it sent (25P02)', () => {
    assert.deepEqual(inTransaction('end', true), ['none', '08007']);
    assert.deepEqual(inTransaction('end', false), ['none', '40001']);
  });
});

/** What a session is told that kept the connection for its state, outside of a transaction. */
function pinned(statement: Partial<Verdict>, sent: boolean): string {
  const exchange = new Exchange(owner, false, 0);
  exchange.sent = sent;
  const verdicts = [{ statements: 1, ...statement } as Verdict];
  const work = { kind: 'query', verdicts, synced: true, losses: 0 } as unknown as Work;
  const loss = afterLoss(false, true, exchange, verdicts, work, error);
  return loss.kind === 'fatal' ? loss.error.sqlState : loss.kind;
}

describe('a server connection that breaks under a session that keeps it', () => {
  it('ends it: of unknown outcome is only what was sent and may have changed something', () => {
    assert.equal(pinned({ class: 'write', mayWrite: true }, true), '08007');
    assert.equal(pinned({ class: 'copy' }, true), '08007');
    assert.equal(pinned({ class: 'write', mayWrite: true }, false), '57P01');
    assert.equal(pinned({ class: 'copy', mayWrite: false }, true), '57P01');
    assert.equal(pinned({ class: 'read' }, true), '57P01');
  });
});
