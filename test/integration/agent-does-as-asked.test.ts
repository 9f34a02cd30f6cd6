import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { AgentClient, perform } from '../../src/agent/agent-client.ts';
import { BackupWriter } from '../../src/agent/backup-writer.ts';
import { receiveBackup } from '../../src/agent/base-backup.ts';
import { ReplicationConnection } from '../../src/agent/replication-connection.ts';
import { replicationLogin } from '../../src/agent/source.ts';
import type { FairleadError } from '../../src/core/errors.ts';
import { postmasterPid } from '../../src/embedded/postgres-processes.ts';
import {
  AGENT_TOKEN,
  NO_AGENTS,
  placesOfServer,
  programsWithRewind,
  startAgent,
  type TestAgent,
} from '../support/agent.ts';
import { makeAuthority } from '../support/certificates.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { runCommandLine } from '../support/command-line.ts';
import { isAlive } from '../support/is-alive.ts';
import { systemPostgres } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { WriteLoad } from '../support/write-load.ts';

const quiet = () => {};

/**
 * The server's own program with its arguments, else the system's, which cannot parse the WAL of another version, and reads the
 * manifests of its own time only: they changed with 17.
 */
function verifierOf(bin: string, major: number): [program: string, ...options: string[]] | null {
  const own = join(bin, 'pg_verifybackup');
  if (existsSync(own)) return [own];
  const system = systemPostgres();
  if (system === null || (system.major < 17 && major >= 17)) return null;
  const other = join(system.directory, 'pg_verifybackup');
  return existsSync(other) ? [other, '--no-parse-wal'] : null;
}

describe('an agent beside a server', { skip: NO_AGENTS }, () => {
  let cluster: TestCluster;
  let agent: TestAgent;
  let bin: string;
  let data: string;

  before(async () => {
    const pgBin = programsWithRewind();
    cluster = await startTestCluster({ replicas: 1, ...(pgBin === null ? {} : { pgBin }) });
    ({ data, bin } = await placesOfServer(cluster, 'pg2'));
    agent = await startAgent({ data, bin });
  });
  after(async () => {
    await agent?.stop();
    await cluster?.stop();
  });

  const sourceOf = (name: string, change: Record<string, string> = {}) => {
    const { host, port } = cluster.node(name);
    const pairs = { host, port: String(port), user: cluster.superuser, password: cluster.password, ...change };
    return Object.entries(pairs)
      .map(([key, value]) => `${key}=${value}`)
      .join(' ');
  };

  it('tells how the server is', async () => {
    const status = await agent.status();
    const { exists, running, accepting, inRecovery, state, leftover, operation, slot } = status;
    assert.deepEqual(
      { exists, running, accepting, inRecovery, state, leftover, operation, slot },
      {
        ...{ exists: true, running: true, accepting: true, inRecovery: true, state: 'in recovery' },
        ...{ leftover: null, operation: null, slot: 'pg2' },
      },
    );
    assert.equal(status.postgres.major, cluster.major);
    const [row] = await cluster
      .node('pg1')
      .query<{ id: string }>('SELECT system_identifier::text AS id FROM pg_control_system()');
    assert.equal(status.systemId, row?.id);
    assert.equal(status.timeline, 1);
  });

  it('answers nobody without the token, not even how the server is', async () => {
    for (const token of [undefined, 'a guess']) {
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
      for (const [path, method] of [
        ['/status', 'GET'],
        ['/stop', 'POST'],
        ['/nothing', 'GET'],
      ] as const) {
        const response = await fetch(`http://${agent.address}${path}`, { method, headers });
        assert.equal(response.status, 401, path);
        assert.match(((await response.json()) as { remedy: string }).remedy, /agent\.token/);
      }
    }
    const [host, port] = agent.address.split(':');
    const stranger = new AgentClient({ host: host as string, port: Number(port) }, { token: 'a guess', tls_ca: null });
    await assert.rejects(stranger.ask({ kind: 'stop', body: undefined }), /the token is missing or wrong/);
    assert.ok((await agent.status()).running);
  });

  it('is asked with TLS where it has a certificate, and by those who can verify it', async () => {
    const authority = makeAuthority();
    const certificate = authority.issue('agent', 'IP:127.0.0.1');
    const secured = await startAgent({ data, bin }, [], { certificate, ca: authority.caFile });
    try {
      await perform(secured.client, { kind: 'start', body: {} }, quiet);
      assert.equal((await secured.status()).systemId, (await agent.status()).systemId);
      const [host, port] = secured.address.split(':') as [string, string];
      const others = makeAuthority();
      try {
        for (const [tls_ca, said] of [
          [others.ca, /https:.*verify/],
          [null, /http:/],
          ['system', /https:.*verify/],
        ] as const) {
          const client = new AgentClient({ host, port: Number(port) }, { token: AGENT_TOKEN, tls_ca });
          await assert.rejects(client.status(), (error: FairleadError) => {
            assert.match(error.message, said);
            assert.match(error.remedy ?? '', /agent\.tls_ca/);
            return true;
          });
        }
        // the address that is asked is not one of those in the certificate
        const elsewhere = new AgentClient(
          { host: 'localhost', port: Number(port) },
          { token: AGENT_TOKEN, tls_ca: authority.ca },
        );
        await assert.rejects(elsewhere.status(), /altnames/);
      } finally {
        others.remove();
      }
    } finally {
      await secured.stop();
      authority.remove();
    }
  });

  it('does not start with half of what TLS needs', async () => {
    const args = ['agent', '--data-dir', data, '--pg-bin', bin, '--listen', '127.0.0.1:0'];
    const env = { FAIRLEAD_AGENT_TOKEN: AGENT_TOKEN, FAIRLEAD_AGENT_TLS_CERT: 'a.crt' };
    const { code, stderr } = await runCommandLine(args, { env });
    assert.equal(code, 2);
    assert.match(stderr, /tls_cert and tls_key go together/);
  });

  it('does not start without one', async () => {
    const args = ['agent', '--data-dir', data, '--pg-bin', bin, '--listen', '127.0.0.1:0'];
    const { code, stderr } = await runCommandLine(args, { env: { FAIRLEAD_AGENT_TOKEN: '' } });
    assert.equal(code, 2);
    assert.match(stderr, /agent\.token is not set/);
  });

  it('stops and starts it, however often it is asked', async () => {
    for (let i = 0; i < 2; i++) {
      await perform(agent.client, { kind: 'stop', body: { mode: 'fast' } }, quiet);
      const { running, state } = await agent.status();
      assert.deepEqual({ running, state }, { running: false, state: 'shut down in recovery' });
    }
    for (let i = 0; i < 2; i++) {
      await perform(agent.client, { kind: 'start', body: {} }, quiet);
      assert.equal((await agent.status()).accepting, true);
    }
    await until(async () => (await cluster.node('pg1').query('SELECT 1 FROM pg_stat_replication')).length === 1, {
      what: 'pg2 to stream',
    });
  });

  it('runs the server as the owner of its data, whoever it is itself', () => {
    const pid = postmasterPid(data) as number;
    const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    assert.equal(Number(uid), statSync(data).uid);
    // the agent itself too: it writes where others may have laid links
    for (const id of [pid, agent.pid]) {
      const text = readFileSync(`/proc/${id}/status`, 'utf8');
      const ids = /^Uid:\s+(.*)$/m.exec(text)?.[1]?.split(/\s+/).map(Number);
      assert.deepEqual(new Set(ids), new Set([statSync(data).uid]), 'real, effective and saved');
      const groups = /^Groups:[ \t]*(.*)$/m.exec(text)?.[1]?.trim().split(' ') ?? [];
      if (statSync(data).uid !== 0) assert.ok(!groups.includes('0'), groups.join(' '));
    }
    for (const name of ['', '/server.log']) {
      assert.equal(statSync(`${data}.fairlead${name}`).uid, statSync(data).uid, name);
    }
  });

  it('stops a server that hangs, and starts it after a SIGKILL', async () => {
    await cluster.node('pg2').freeze();
    await perform(agent.client, { kind: 'stop', body: { mode: 'fast' } }, quiet);
    assert.equal((await agent.status()).running, false);
    await perform(agent.client, { kind: 'start', body: {} }, quiet);
    const pid = postmasterPid(data) as number;
    process.kill(pid, 'SIGKILL');
    await until(() => !isAlive(pid), { what: 'the end of the postmaster' });
    await perform(agent.client, { kind: 'start', body: {} }, quiet);
    await cluster.node('pg2').query('SELECT 1');
  });

  it('does one thing at a time, and joins who asks for the same', async () => {
    const clone = {
      kind: 'clone',
      body: { source: { conninfo: sourceOf('pg1'), slot: 'pg2', rewindConninfo: null } },
    } as const;
    // it cannot be done before the others have asked
    await cluster.node('pg1').freeze();
    try {
      const { id } = await agent.client.ask(clone);
      assert.equal((await agent.client.ask(clone)).id, id);
      await assert.rejects(agent.client.ask({ kind: 'stop', body: { mode: 'fast' } }), /clone is under way/);
    } finally {
      await cluster.node('pg1').thaw();
    }
    await until(async () => (await agent.status()).operation?.state === 'done', {
      what: 'the clone',
      timeoutMs: 60_000,
    });
    await perform(agent.client, { kind: 'start', body: {} }, quiet);
    await cluster.node('pg2').query('SELECT 1');
  });

  it('refuses what it cannot do with the reason, and leaves the server as it is', async () => {
    const pg1 = cluster.node('pg1');
    await pg1.query(`CREATE ROLE nobody_special LOGIN PASSWORD 'secret'`);
    const clone = (conninfo: string) =>
      perform(agent.client, { kind: 'clone', body: { source: { conninfo, slot: null, rewindConninfo: null } } }, quiet);
    await assert.rejects(clone(sourceOf('pg1', { password: 'wrong' })), /password authentication failed/);
    await assert.rejects(
      clone(sourceOf('pg1', { user: 'nobody_special', password: 'secret' })),
      /replication role|REPLICATION attribute/,
    );
    await assert.rejects(clone(sourceOf('pg1', { port: '1' })), /ECONNREFUSED/);
    await assert.rejects(clone('host=a'), /names no user/);
    assert.equal((await agent.status()).accepting, true);
    assert.ok(!existsSync(`${data}.fairlead/new`));

    const spare = mkdtempSync(join(tmpdir(), 'tablespace-'));
    const { uid, gid } = statSync(data);
    chownSync(spare, uid, gid);
    // an in-place one would do where there are such (15); this one the replica cannot make, so it is stopped
    await perform(agent.client, { kind: 'stop', body: { mode: 'fast' } }, quiet);
    try {
      await pg1.query(`CREATE TABLESPACE elsewhere LOCATION '${spare}'`);
      await assert.rejects(clone(sourceOf('pg1')), new RegExp(`1 tablespace outside its data directory: ${spare}`));
    } finally {
      await pg1.query('DROP TABLESPACE elsewhere');
      rmSync(spare, { recursive: true, force: true });
    }
  });

  it('a base backup under load is what pg_verifybackup accepts', async (t) => {
    const verifier = verifierOf(bin, cluster.major);
    if (verifier === null)
      return t.diagnostic(`no pg_verifybackup here reads a manifest of PostgreSQL ${cluster.major}`);
    const [program, ...options] = verifier;
    const load = await WriteLoad.start(cluster.node('pg1').url, 'verified');
    const directory = mkdtempSync(join(tmpdir(), 'verified-'));
    const connection = await ReplicationConnection.open(replicationLogin({ conninfo: sourceOf('pg1') }));
    try {
      const target = join(directory, 'backup');
      mkdirSync(target, { mode: 0o700 });
      const writer = new BackupWriter(target, null);
      const { startLsn, endLsn } = await receiveBackup(connection, writer, quiet);
      assert.notEqual(startLsn, endLsn);
      assert.ok(writer.finish() > 500);
      const said = execFileSync(program, [...options, target], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
      assert.match(said, /backup successfully verified/);
    } finally {
      connection.close();
      await load.stop();
      rmSync(directory, { recursive: true });
    }
  });
});
