import assert from 'node:assert/strict';
import { it } from 'node:test';
import { deviationOf } from '../differential/known.ts';
import { assertSame, type Conversation, type Differential, firstDifference } from './differential.ts';

/** A test that a conversation is the same on both sides, unless it is known not to be. */
export function itIsTheSame(differential: () => Differential, conversation: Conversation): void {
  const { name } = conversation;
  it(name, async (t) => {
    const heard = await differential().run(conversation);
    const known = deviationOf(name, differential().major);
    if (known === null) return assertSame(heard, name);
    const same = firstDifference(heard.direct, heard.proxied) === null;
    t.diagnostic(same ? 'no difference' : `known: ${known.why}`);
    assert.ok(!same || known.sometimes === true, `${name} is the same now: take it off the list of known deviations`);
  });
}
