import { after, before, describe } from 'node:test';
import { conversationsOf } from '../differential/script.ts';
import { DATA_SCRIPTS } from '../differential/scripts-data.ts';
import { SESSION_SCRIPTS } from '../differential/scripts-session.ts';
import { TRANSACTION_SCRIPTS } from '../differential/scripts-transactions.ts';
import { itIsTheSame } from '../support/compare.ts';
import { Differential } from '../support/differential.ts';

const GROUPS = { data: DATA_SCRIPTS, sessions: SESSION_SCRIPTS, transactions: TRANSACTION_SCRIPTS };

describe('statements are answered through the proxy as by PostgreSQL itself', () => {
  let differential: Differential;

  before(async () => {
    differential = await Differential.start();
  });
  after(() => differential?.stop());

  for (const [group, scripts] of Object.entries(GROUPS)) {
    describe(group, () => {
      for (const conversation of scripts.flatMap(conversationsOf)) itIsTheSame(() => differential, conversation);
    });
  }
});
