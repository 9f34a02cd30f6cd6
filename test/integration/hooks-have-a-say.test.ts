import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import type { Json } from '../support/http.ts';
import { until } from '../support/wait.ts';

/** Programs of the user's around a failover: the order of the tests is the course of it. */
describe('hooks', () => {
  let directory: string;
  let cluster: TestCluster;
  let fairlead: TestFairlead;

  const path = (name: string) => join(directory, name);
  const reason = () => fairlead.app.cluster.assignment.value.reason;
  const told = async (name: string): Promise<Json[]> => {
    const text = await readFile(path(`${name}.log`), 'utf8').catch(() => '');
    // the last one may be on its way
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  };

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'fairlead-test-'));
    for (const name of ['validate', 'fence', 'rejoin', 'notify']) {
      const script = `cat >> ${path(`${name}.log`)}\n[ ! -e ${path(`no-${name}`)} ] || { echo "no ${name} today" >&2; exit 1; }`;
      await writeFile(path(name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    }
    await writeFile(path('no-validate'), '');
    await writeFile(path('no-fence'), '');
    cluster = await startTestCluster();
    fairlead = await startFairlead(cluster, {
      config: {
        failover: { timeout: 3000 },
        hooks: {
          validate: path('validate'),
          fence: { command: [path('fence')], required: true },
          rejoin: path('rejoin'),
          notify: path('notify'),
        },
      },
    });
    const { topology } = fairlead.app.cluster;
    await until(() => topology.value.replicas.length === 2, { what: 'two replicas that serve reads' });
  });
  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('validate keeps a failover from beginning, with its reason', async () => {
    await cluster.node('pg1').kill9();
    await until(() => /hooks.validate says no: no validate today/.test(reason()), { what: 'the veto' });
    const { phase, epoch } = fairlead.app.cluster.assignment.value;
    assert.deepEqual([phase, epoch], ['suspect', 1]);
    const [asked] = await told('validate');
    assert.deepEqual([asked.hook, asked.event, asked.from], ['validate', 'failover', 'pg1']);
    assert.match(asked.to, /^pg[23]$/);
    assert.match(asked.reason, /lost it too/);
    assert.equal(asked.nodes.length, 3);
    const [pg1] = asked.nodes;
    assert.deepEqual([pg1.name, pg1.port, pg1.condition], ['pg1', cluster.node('pg1').port, 'refused']);
  });

  it('is asked again; then a fence that is required keeps it from going on', async () => {
    await rm(path('no-validate'));
    await until(() => /it is not certain that pg1 is off: hooks.fence: no fence today/.test(reason()), {
      what: 'the missing fence',
      timeoutMs: 60_000,
    });
    assert.equal(fairlead.app.cluster.assignment.value.phase, 'halted');
    const [asked] = await told('fence');
    assert.deepEqual([asked.hook, asked.from, asked.epoch], ['fence', 'pg1', 2]);
    for (const name of ['pg2', 'pg3']) {
      const [row] = await cluster.node(name).query('SELECT pg_is_in_recovery() AS replica');
      assert.deepEqual(row, { replica: true });
    }
  });

  it('once it succeeds the best replica is promoted', async () => {
    await rm(path('no-fence'));
    const { assignment } = fairlead.app.cluster;
    await until(() => assignment.value.phase === 'steady' && assignment.value.primary !== 'pg1', {
      what: 'another primary',
      timeoutMs: 60_000,
    });
  });

  it('rejoin is run for the former primary when it is back', async () => {
    const { primary } = fairlead.app.cluster.assignment.value;
    // its check of the start may be ended by the fence
    await cluster
      .node('pg1')
      .start()
      .catch(() => {});
    const [asked] = await until(async () => ((await told('rejoin')).length > 0 ? told('rejoin') : null), {
      what: 'the rejoin',
      timeoutMs: 60_000,
    });
    assert.deepEqual([asked.hook, asked.node, asked.to], ['rejoin', 'pg1', primary]);
    assert.match(asked.reason, /was primary of timeline 1/);
  });

  it('notify is told every event, in their order', async () => {
    const events = (await until(
      async () => {
        const all = (await told('notify')).map(({ event }) => event);
        return all.some(({ kind }) => kind === 'rejoining') ? all : null;
      },
      { what: 'the last event' },
    )) as Json[];
    const kinds = events.map(({ kind }) => kind);
    const course = ['suspect', 'fencing', 'halted', 'failover', 'fenced', 'rejoining'];
    assert.deepEqual(
      course.map((kind) => kinds.indexOf(kind)),
      course.map((kind) => kinds.indexOf(kind)).sort((a, b) => a - b),
    );
    assert.deepEqual(
      course.filter((kind) => !kinds.includes(kind)),
      [],
    );
    assert.ok(kinds.includes('fence-hook-failed'));
  });
});
