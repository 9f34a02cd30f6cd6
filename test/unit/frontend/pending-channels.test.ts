import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PendingChannels } from '../../../src/frontend/pending-channels.ts';
import type { ListenStep } from '../../../src/sql/verdict.ts';

/** `+a` listen, `-a` unlisten, `-*` unlisten all, `[a` savepoint, `]a` release, `<a` rollback to. */
function step(text: string): ListenStep {
  const name = text.slice(1);
  switch (text[0]) {
    case '+':
      return { kind: 'listen', name };
    case '-':
      return { kind: 'unlisten', name: name === '*' ? null : name };
    case '[':
      return { kind: 'savepoint', name };
    case ']':
      return { kind: 'release', name };
    default:
      return { kind: 'rollback to', name };
  }
}

const after = (before: string, steps: string): string => {
  const pending = new PendingChannels();
  for (const text of steps.split(' ')) pending.note(step(text));
  return [...pending.effectOn(new Set(before.split('')))].sort().join('');
};

describe('PendingChannels', () => {
  for (const [before, steps, expected] of [
    ['', '+a', 'a'],
    ['a', '-a', ''],
    ['ab', '-* +c', 'c'],
    ['', '+a [s +b <s', 'a'],
    ['', '+a [s +b <s +c', 'ac'],
    ['', '[s +b ]s', 'b'],
    ['', '[s +a [t +b ]t +c <s', ''],
    ['', '[s +a [t +b <t +c ]s', 'ac'],
    ['', '[s +a [s +b <s +c', 'ac'],
    ['', '[s +a [s +b ]s +c <s', ''],
    ['', '[s +a <s <s +b', 'b'],
    ['x', '[s -x <s', 'x'],
    ['', '+a <unknown ]unknown', 'a'],
  ] as const) {
    it(`${steps} on "${before}" gives "${expected}"`, () => assert.equal(after(before, steps), expected));
  }

  it('is empty again after the transaction', () => {
    const pending = new PendingChannels();
    pending.note(step('+a'));
    assert.equal(pending.empty, false);
    pending.clear();
    assert.equal(pending.empty, true);
  });
});
