import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Repairs } from '../../../src/agent/repairs.ts';
import { type Config, configSchema } from '../../../src/config/config.ts';
import { SILENT } from '../../../src/core/log.ts';

const CONFIG = configSchema.parse({
  cluster: { user: 'a', nodes: { pg1: '10.0.0.1:5432', pg2: { address: '10.0.0.2:5432', agent: '10.0.0.2:8433' } } },
});

function repairs(primary: string | null, config: Config = CONFIG): Repairs {
  return new Repairs({
    ...{ config: () => config, log: SILENT, primary: () => primary, event: () => {} },
    target: () => {
      throw new Error('nobody is asked');
    },
  });
}

describe('a rejoin is refused', () => {
  it('without an agent, and says where to write that there is one', () => {
    assert.throws(() => repairs('pg2').rejoin('pg1', 'auto'), {
      code: 'refused',
      message: 'there is no agent beside pg1',
      remedy: 'run `fairlead agent` there, and say where: cluster.nodes.pg1.agent',
    });
  });

  it('without a primary, and for the primary', () => {
    assert.throws(() => repairs(null).rejoin('pg2', 'auto'), { message: 'there is no primary to follow' });
    assert.throws(() => repairs('pg2').rejoin('pg2', 'auto'), { message: 'pg2 is the primary' });
  });

  it('without a token, with the key', async () => {
    const all = repairs('pg1');
    assert.equal(all.rejoin('pg2', 'auto').state, 'running');
    await all.stop();
    const { state, error, remedy } = all.of('pg2') ?? {};
    assert.deepEqual(
      { state, error, remedy },
      {
        ...{ state: 'failed', error: 'no token for the agents' },
        remedy: 'set agent.token, the same as beside the servers',
      },
    );
  });
});
