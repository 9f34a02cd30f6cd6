import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadAgentConfig } from '../../../src/config/load-agent.ts';

describe('the configuration of an agent', () => {
  let directory: string;
  let file: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'load-agent-'));
    file = join(directory, 'fairlead.yaml');
  });
  after(() => rmSync(directory, { recursive: true }));

  it('is its section of the cluster’s file, under the environment, under the command line', () => {
    writeFileSync(
      file,
      'cluster: { password: "${NOT_SET_HERE}" }\nagent: { token: "${T}", data_directory: data, bin_directory: /b, listen: 8500 }\n',
    );
    const environment = { T: 'secret', FAIRLEAD_AGENT_KEEP_OLD: 'true', FAIRLEAD_AGENT_BIN_DIRECTORY: '/env' };
    const config = loadAgentConfig(file, environment, { listen: '10.0.0.1:8501' });
    const { token, data_directory, bin_directory, listen, keep_old, stop_timeout } = config;
    assert.deepEqual(
      { token, data_directory, bin_directory, listen, keep_old, stop_timeout },
      {
        ...{ token: 'secret', data_directory: join(directory, 'data'), bin_directory: '/env', keep_old: true },
        ...{ listen: { host: '10.0.0.1', port: 8501 }, stop_timeout: 60_000 },
      },
    );
    assert.deepEqual(loadAgentConfig(null, {}, {}).listen, { host: '127.0.0.1', port: 8433 });
  });

  it('names the key that is wrong', () => {
    writeFileSync(file, 'agent: { data_dir: /x }\n');
    assert.throws(() => loadAgentConfig(file, {}, {}), /unknown key agent\.data_dir/);
    writeFileSync(file, 'agent: [1]\n');
    assert.throws(() => loadAgentConfig(file, {}, {}), /agent: write keys and values/);
  });
});
