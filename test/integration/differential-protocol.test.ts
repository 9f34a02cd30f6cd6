import { after, before, describe } from 'node:test';
import { EDGES } from '../differential/protocol-edges.ts';
import { EXTENDED } from '../differential/protocol-extended.ts';
import { itIsTheSame } from '../support/compare.ts';
import { Differential } from '../support/differential.ts';

describe('messages are answered through the proxy as by PostgreSQL itself', () => {
  let differential: Differential;

  before(async () => {
    differential = await Differential.start();
  });
  after(() => differential?.stop());

  for (const [group, conversations] of Object.entries({ ...EXTENDED, ...EDGES })) {
    describe(group, () => {
      for (const conversation of conversations) itIsTheSame(() => differential, conversation);
    });
  }
});
