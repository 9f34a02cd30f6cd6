import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ConfigInput, configSchema } from '../../../src/config/config.ts';
import { afterReload, difference, withoutNodes } from '../../../src/config/difference.ts';

const RUNNING = { pg1: '10.0.0.1:5432', pg2: '10.0.0.2:5432' };

const config = (nodes: ConfigInput['cluster']['nodes'], rest: object = {}) =>
  configSchema.parse({ cluster: { user: 'a', nodes }, ...rest });

/** Names of the nodes in force after the reload, and whether each key that differs is live. */
function reloaded(nodes: ConfigInput['cluster']['nodes']) {
  const running = config(RUNNING);
  const read = config(nodes);
  const keys = new Map(difference(running, read).map(({ key, live }) => [key, live]));
  return { names: Object.keys(afterReload(running, read).cluster.nodes), keys };
}

describe('a reload', () => {
  it('changes what may change, and says what may not', () => {
    const running = config(RUNNING, { failover: { hold: '1s', timeout: '3s' } });
    const read = config(RUNNING, { failover: { hold: '2s', timeout: '4s' }, pool: { size: 7 } });
    const texts = difference(running, read).map(({ key, live, text }) => [key, live, /after a restart/.test(text)]);
    assert.deepEqual(texts.sort(), [
      ['failover.hold', true, false],
      ['failover.timeout', false, true],
      ['pool.size', true, false],
    ]);
    const { failover, pool } = afterReload(running, read);
    assert.deepEqual([failover.hold, failover.timeout, pool.size], [2000, 3000, 7]);
  });

  it('takes in nodes behind those that are there, wherever they are written', () => {
    const { names, keys } = reloaded({ pg0: '10.0.0.9:5432', ...RUNNING });
    assert.deepEqual(names, ['pg1', 'pg2', 'pg0']);
    assert.equal(keys.get('cluster.nodes.pg0.address.host'), true);
    assert.ok([...keys.values()].every((live) => live));
  });

  it('takes in what is new beside what has to wait', () => {
    const { names, keys } = reloaded({ pg1: '10.0.0.7:5432', pg3: '10.0.0.3:5432' });
    assert.deepEqual(names, ['pg1', 'pg2', 'pg3']);
    assert.equal(keys.get('cluster.nodes.pg1.address.host'), false);
    assert.equal(keys.get('cluster.nodes.pg2.address.host'), false);
    assert.equal(keys.get('cluster.nodes.pg3.address.host'), true);
  });

  it('does not take in a server twice', () => {
    for (const nodes of [
      { pg1: RUNNING.pg1, renamed: RUNNING.pg2 },
      { pg1: RUNNING.pg2, pg3: RUNNING.pg1 },
    ]) {
      const { names, keys } = reloaded(nodes);
      assert.deepEqual(names, ['pg1', 'pg2']);
      assert.ok([...keys.values()].every((live) => !live));
    }
  });

  it('asks for no more than a new name', () => {
    const { names } = reloaded({ ...RUNNING, 3: '10.0.0.3:5432', constructor: '10.0.0.4:5432' });
    assert.deepEqual(names.sort(), ['3', 'constructor', 'pg1', 'pg2']);
  });

  it('forgets a node that has not joined', () => {
    const { cluster } = withoutNodes(config(RUNNING), ['pg2']);
    assert.deepEqual(Object.keys(cluster.nodes), ['pg1']);
  });
});
