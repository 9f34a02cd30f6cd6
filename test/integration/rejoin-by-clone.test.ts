import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { postmasterPid } from '../../src/embedded/postgres-processes.ts';
import { NO_AGENTS } from '../support/agent.ts';
import { RejoinScene } from '../support/rejoin-scene.ts';
import { until } from '../support/wait.ts';
import { CHECKSUMS, WriteLoad } from '../support/write-load.ts';

describe('a former primary is cloned while clients write, and the agent is killed in the middle', {
  skip: NO_AGENTS,
}, () => {
  let scene: RejoinScene;
  let next: string;
  let load: WriteLoad;

  before(async () => {
    scene = await RejoinScene.start({ replicas: 1 });
    const pg1 = scene.cluster.node('pg1');
    await pg1.query(`CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 8) AS text FROM generate_series(1, 400000) n`);
    const has = async () =>
      (await scene.cluster.node('pg2').query('SELECT count(*)::int AS n FROM bulk'))[0]?.n === 400000;
    await until(has, { what: 'pg2 to have the rows', timeoutMs: 60_000 });
    next = await scene.failOver();
    await scene.diverge('pg1', 'CREATE TABLE ghost AS SELECT generate_series(1, 1000) AS id');
    load = await WriteLoad.start(scene.cluster.node(next).url, 'loaded');
  });
  after(async () => {
    await load?.stop();
    await scene?.stop();
  });

  it('a clone under way leaves the old directory alone; killed, it says so and is run again', async () => {
    const agent = scene.agent('pg1');
    const { under, goOn } = await scene.heldClone('pg1');
    const seen = await until(
      async () => {
        const { operation } = await agent.status();
        return operation?.stage === 'copying' && (operation.doneBytes ?? 0) > 1024 ** 2 ? operation : null;
      },
      { what: 'the clone to copy', timeoutMs: 30_000, everyMs: 2 },
    );
    assert.ok((seen.totalBytes ?? 0) > 100 * 1024 ** 2, `${seen.totalBytes}`);
    await agent.kill9();
    goOn();
    assert.ok(existsSync(`${agent.dataDirectory}/PG_VERSION`), 'the old directory is there');
    assert.ok(existsSync(`${agent.dataDirectory}.fairlead/new`), 'and so is half a new one');
    await agent.restart();
    assert.match((await agent.status()).leftover ?? '', /a clone was interrupted/);
    const { code, stderr } = await under;
    assert.equal(code, 1);
    assert.match(stderr, /the agent was started anew in the middle of clone; run it again/);
  });

  it('run again it completes, with progress in bytes', async () => {
    const written = load.acknowledged;
    const { code, stdout, stderr } = await scene.rejoin('pg1', '--clone');
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), `pg1 was cloned and follows ${next}`);
    assert.match(stderr, /copying/);
    assert.ok(load.acknowledged > written, 'clients wrote meanwhile');
    assert.equal((await scene.agent('pg1').status()).leftover, null);
    assert.deepEqual(readdirSync(`${scene.agent('pg1').dataDirectory}.fairlead`).sort(), ['server.log']);
  });

  it('has every row of the primary and none of its own, and its own port', async () => {
    await load.stop();
    const primary = scene.cluster.node(next);
    const pg1 = scene.cluster.node('pg1');
    const [position] = await primary.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
    const reached = async () =>
      (await pg1.query<{ ok: boolean }>('SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS ok', [position?.lsn]))[0]?.ok;
    await until(reached, { what: 'pg1 to replay', timeoutMs: 60_000 });
    const theirs = await primary.query(CHECKSUMS);
    assert.deepEqual(
      theirs.map(({ table }) => table),
      ['bulk', 'loaded'],
    );
    assert.deepEqual(await pg1.query(CHECKSUMS), theirs);
    await scene.untilReadable('pg1');
  });

  it('without pg_rewind, or where it cannot help, rejoin clones by itself and says why', async () => {
    const before = next;
    next = await scene.failOver();
    assert.equal(next, 'pg1');
    await scene.diverge(before, 'CREATE TABLE ghost AS SELECT generate_series(1, 1000) AS id');
    const { noRewind } = await scene.agent(before).status();
    const { code, stdout, stderr } = await scene.rejoin(before);
    assert.equal(code, 0, stderr);
    if (noRewind === null) assert.equal(stdout.trim(), `${before} was rewound and follows ${next}`);
    else {
      assert.equal(stdout.trim(), `${before} was cloned and follows ${next}`);
      assert.match(stderr, /cannot be rewound, and is cloned: there is no pg_rewind in /);
    }
    assert.deepEqual(await scene.cluster.node(before).query(`SELECT to_regclass('ghost') AS ghost`), [{ ghost: null }]);
    await scene.untilReadable(before);
  });

  it('when the primary dies in the middle of it, it says so, and the old directory is what it was', async () => {
    const other = next === 'pg1' ? 'pg2' : 'pg1';
    const agent = scene.agent(other);
    const { under, goOn } = await scene.heldClone(other);
    assert.equal((await agent.status()).operation?.stage, 'copying');
    process.kill(postmasterPid(scene.agent(next).dataDirectory) as number, 'SIGKILL');
    goOn();
    const { code, stderr } = await under;
    assert.equal(code, 1);
    assert.match(stderr, /the connection to the source is lost|the source says: /);
    const { running, leftover, systemId } = await agent.status();
    assert.deepEqual({ running, leftover, known: systemId !== null }, { running: true, leftover: null, known: true });
    assert.ok(!existsSync(`${agent.dataDirectory}.fairlead/new`));
  });
});
