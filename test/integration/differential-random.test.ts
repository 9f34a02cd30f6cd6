import { after, before, describe, it } from 'node:test';
import { forgiven } from '../differential/forgiven.ts';
import { randomConversation } from '../differential/random-conversation.ts';
import { assertSame, Differential } from '../support/differential.ts';
import { SEED } from '../support/seed.ts';

/** FAIRLEAD_SEED=… begins with that conversation; FAIRLEAD_ROUNDS=1 stays with it. */
const ROUNDS = Number(process.env.FAIRLEAD_ROUNDS ?? 250);

/** What differed once. */
const FOUND = [980_270_042, 20_261_206];

describe(`random messages are answered through the proxy as by PostgreSQL itself (FAIRLEAD_SEED=${SEED})`, () => {
  let differential: Differential;

  before(async () => {
    differential = await Differential.start();
  });
  after(() => differential?.stop());

  it('in conversations that differed once', async () => {
    for (const seed of FOUND) {
      const conversation = randomConversation(seed);
      const { direct, proxied } = await differential.run(conversation);
      assertSame({ direct: forgiven(direct, proxied), proxied }, conversation.name);
    }
  });

  it(`in ${ROUNDS} conversations`, async () => {
    for (let i = 0; i < ROUNDS; i++) {
      const conversation = randomConversation(SEED + i);
      const { direct, proxied } = await differential.run(conversation);
      assertSame({ direct: forgiven(direct, proxied), proxied }, conversation.name);
    }
  });
});
