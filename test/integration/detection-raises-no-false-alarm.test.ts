import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it, type TestContext } from 'node:test';
import pg from 'pg';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type FairleadProcess, startFairleadProcess } from '../support/fairlead-process.ts';
import { httpGet, type Json } from '../support/http.ts';
import { until } from '../support/wait.ts';

/** A machine that is busy with something else must not make a living primary silent for so long. */
const TIMEOUT_MS = 4000;
/** Long enough for a failover, had it been decided on. */
const WATCHED_MS = TIMEOUT_MS + 1500;

const OURS = `SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'fairlead-%' AND backend_type = 'client backend'`;
const END_PROBES = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fairlead-probe'`;

describe('what is not the death of the primary', () => {
  let cluster: TestCluster;
  let fairlead: FairleadProcess;
  /** As superuser, open from the beginning: what is broken has to be mended. */
  let mender: pg.Client;

  before(async () => {
    cluster = await startTestCluster({ settings: { max_connections: '30' } });
    fairlead = await startFairleadProcess(cluster, { failover: { timeout: TIMEOUT_MS } });
    await until(async () => (await state()).nodes.filter((node: Json) => node.readable).length === 2, {
      what: 'two replicas that serve reads',
    });
    mender = new pg.Client({ connectionString: cluster.node('pg1').url });
    await mender.connect();
  });
  after(async () => {
    await mender?.end().catch(() => {});
    await fairlead?.stop();
    await cluster?.stop();
  });

  const state = (): Promise<Json> => httpGet(`${fairlead.http}/api/cluster`).then(({ body }) => body);
  const kinds = async (): Promise<string[]> =>
    (await httpGet(`${fairlead.http}/api/events`)).body.events.map((event: Json) => event.kind);
  const conditionOfPrimary = async () => (await state()).nodes.find((node: Json) => node.name === 'pg1').condition;

  /** From the moment that it shows for as long as a failover would take, and until it is over. */
  async function remains(t: TestContext, condition: string, mend: () => Promise<unknown>): Promise<void> {
    try {
      await until(async () => (await conditionOfPrimary()) === condition, { what: condition });
      const endMs = performance.now() + WATCHED_MS;
      await until(
        async () => {
          const { epoch, primary } = await state();
          if (epoch !== 1 || primary !== 'pg1') throw new Error(`epoch ${epoch}, primary ${primary}`);
          return performance.now() > endMs;
        },
        { what: `pg1 to remain the primary while ${condition}`, timeoutMs: WATCHED_MS + 30_000 },
      );
      // on a busy machine a sign of life may come late: it is suspected for a moment, and no longer
      const trusted = async () => {
        const { phase, reason } = await state();
        if (phase !== 'steady' || !/^pg1 is alive/.test(reason)) throw new Error(`${phase}: ${reason}`);
        return reason;
      };
      t.diagnostic(await until<string>(trusted, { what: `pg1 to be trusted while ${condition}` }));
    } finally {
      await mend();
    }
    await until(async () => (await conditionOfPrimary()) === 'answers', { what: 'pg1 to answer again' });
    assert.deepEqual(await failovers(), []);
  }

  const failovers = async () => (await kinds()).filter((kind) => kind === 'fencing' || kind === 'failover');

  it('a standstill of Fairlead: nobody is suspected, and no write goes on before the primary has answered', async () => {
    const client = new pg.Client({ connectionString: fairlead.url });
    await client.connect();
    try {
      await client.query('CREATE TABLE stood (id int)');
      process.kill(fairlead.pid, 'SIGSTOP');
      const writing = client.query('INSERT INTO stood VALUES (1)');
      await new Promise((resolve) => setTimeout(resolve, WATCHED_MS));
      process.kill(fairlead.pid, 'SIGCONT');
      await writing;
      assert.deepEqual((await mender.query('SELECT id FROM stood')).rows, [{ id: 1 }]);
    } finally {
      process.kill(fairlead.pid, 'SIGCONT');
      await client.end();
    }
    assert.equal((await state()).epoch, 1);
    assert.ok(!(await kinds()).includes('suspect'));
  });

  it('too many clients', async (t) => {
    const crowd: pg.Client[] = [];
    const fill = async () => {
      for (;;) {
        const client = new pg.Client({ connectionString: cluster.node('pg1').url });
        client.on('error', () => {});
        try {
          await client.connect();
        } catch {
          return;
        }
        crowd.push(client);
      }
    };
    await fill();
    // its own connection goes on being used; what is told is told of one that is gone, and whose place is taken
    await until(
      async () => {
        await mender.query(END_PROBES);
        await fill();
        return (await conditionOfPrimary()) === 'refusing';
      },
      { what: 'a probe that finds no place' },
    );
    await remains(t, 'refusing', () => Promise.all(crowd.map((client) => client.end().catch(() => {}))));
  });

  it('a wrong password', async (t) => {
    const { superuser, password } = cluster;
    await mender.query(`ALTER ROLE "${superuser}" PASSWORD 'another'`);
    const refused = async () => {
      await mender.query(END_PROBES);
      return (await conditionOfPrimary()) === 'refusing';
    };
    await until(refused, { what: 'a probe that is refused' });
    await remains(t, 'refusing', () => mender.query(`ALTER ROLE "${superuser}" PASSWORD '${password}'`));
  });

  it('a line in pg_hba.conf that keeps Fairlead out', async (t) => {
    if (cluster.backend === 'docker') return t.diagnostic('pg_hba.conf is in the container');
    const file = (await mender.query('SHOW hba_file')).rows[0].hba_file;
    const before = await readFile(file, 'utf8');
    await writeFile(file, `host postgres all all reject\n${before}`);
    await mender.query('SELECT pg_reload_conf()');
    const reloaded = async () => {
      await mender.query(END_PROBES);
      return (await conditionOfPrimary()) === 'refusing';
    };
    await until(reloaded, { what: 'the line to count' });
    await remains(t, 'refusing', async () => {
      await writeFile(file, before);
      await mender.query('SELECT pg_reload_conf()');
    });
  });

  it('a server that is too busy to answer, while its walsenders go on', async (t) => {
    if (cluster.backend === 'docker') return t.diagnostic('its processes are not ours to stop');
    // what tells that it lives comes by the logical stream too, and nobody connects anew while the postmaster stands still
    await until(async () => (await state()).replication.mode === 'streaming', { what: 'the stream' });
    // neither the connections that there are nor new ones get an answer
    const [file] = (await mender.query(`SELECT current_setting('data_directory') || '/postmaster.pid' AS file`)).rows;
    const stopped = [Number((await readFile(file.file, 'utf8')).split('\n')[0])];
    process.kill(stopped[0] as number, 'SIGSTOP');
    // from here on there are no new ones
    const { rows } = await mender.query(OURS);
    stopped.push(...rows.map(({ pid }) => pid as number));
    for (const pid of stopped) process.kill(pid, 'SIGSTOP');
    await remains(t, 'overloaded', async () => {
      for (const pid of stopped) process.kill(pid, 'SIGCONT');
    });
    assert.ok((await kinds()).includes('primary-troubled'));
  });
});
