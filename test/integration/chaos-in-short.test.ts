import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { campaign } from '../chaos/campaign.ts';
import { NO_AGENTS } from '../support/agent.ts';

describe('a short campaign of faults', { skip: NO_AGENTS }, () => {
  it('breaks no promise', { timeout: 250_000 }, async (t) => {
    const options = {
      mode: 'quorum',
      seed: 1,
      from: 1,
      rounds: 1,
      logs: join(tmpdir(), `fairlead-chaos-${process.pid}`),
    } as const;
    const of = (only: string) =>
      campaign({ ...options, only }, ({ fault, notes }) => t.diagnostic([fault, ...notes].join('; ')));
    const { rounds } = await of('start it after the promotion');
    assert.deepEqual(
      rounds.flatMap(({ violations }) => violations),
      [],
    );
    assert.equal(rounds[0]?.counts?.failovers, 1);
    assert.ok((rounds[0]?.counts?.acknowledged ?? 0) > 50);
    // logs of a round that failed stay
    rmSync(options.logs, { recursive: true, force: true });
  });
});
