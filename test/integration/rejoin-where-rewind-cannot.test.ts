import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { needsRewind, programsWithRewind } from '../support/agent.ts';
import { RejoinScene } from '../support/rejoin-scene.ts';
import { until } from '../support/wait.ts';

describe('a server without wal_log_hints and data checksums cannot be rewound', { skip: needsRewind() }, () => {
  let scene: RejoinScene;
  let next: string;

  before(async () => {
    scene = await RejoinScene.start({
      ...{ pgBin: programsWithRewind() ?? '', replicas: 1 },
      settings: { wal_log_hints: false },
    });
    await scene.cluster.node('pg1').query('CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id');
    await until(async () => (await scene.cluster.node('pg2').query('SELECT 1 FROM kept')).length === 1000, {
      what: 'pg2 to have the rows',
    });
    next = await scene.failOver();
    await scene.diverge('pg1', 'CREATE TABLE ghost AS SELECT generate_series(1, 1000) AS id');
  });
  after(() => scene?.stop());

  it('fairlead check says so', async () => {
    const { stdout } = await scene.directly('check');
    assert.match(stdout, /^warning +pg2: neither wal_log_hints nor data checksums: rejoin clones this node/m);
    assert.match(stdout, /fix: ALTER SYSTEM SET wal_log_hints = on/);
  });

  it('says what it needs, and has changed nothing', async () => {
    const { code, stderr } = await scene.rejoin('pg1', '--rewind');
    assert.equal(code, 1);
    assert.match(stderr, /pg_rewind: .*wal_log_hints/);
    assert.match(stderr, /clone it instead \(`fairlead rejoin NODE --clone`\)/);
    const { state, leftover } = await scene.agent('pg1').status();
    assert.deepEqual({ state, leftover }, { state: 'shut down', leftover: null });
  });

  it('is cloned by itself, with the reason', async () => {
    const { code, stdout, stderr } = await scene.rejoin('pg1');
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), `pg1 was cloned and follows ${next}`);
    assert.match(stderr, /pg1 cannot be rewound, and is cloned: .*wal_log_hints/);
    assert.deepEqual(await scene.cluster.node('pg1').query(`SELECT to_regclass('ghost') AS ghost`), [{ ghost: null }]);
    await scene.untilReadable('pg1');
  });
});
