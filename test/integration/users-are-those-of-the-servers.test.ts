import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Log } from '../../src/core/log.ts';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { Connection } from '../support/connection.ts';
import { startFairlead, type TestFairlead, type TestFairleadOptions } from '../support/fairlead.ts';
import { RawClient } from '../support/raw-client.ts';
import { setHba } from '../support/server-files.ts';
import { queryOnce } from '../support/test-cluster.ts';
import { until } from '../support/wait.ts';

/** No password of any client is in the configuration. */
describe('users are those of the servers', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  const logged: string[] = [];
  const directory = mkdtempSync(join(tmpdir(), 'users-'));

  const note = (fields: object, message: string) => {
    logged.push(`${message} ${JSON.stringify(fields, (_, v) => (typeof v === 'bigint' ? String(v) : v))}`);
  };
  const log: Log = { debug: note, info: note, warn: note, error: note };

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    fairlead = await startFairlead(cluster, { auth: {}, config: { failover: { mode: 'off' } }, log });
    await until(() => fairlead.app.cluster.topology.value.replicas.length === 1, { what: 'primary and replica' });
  });

  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const sql = (text: string) => cluster.node('pg1').query(text);
  const urlOf = (user: string, password: string, database = 'postgres', base = fairlead.url) => {
    const url = new URL(base);
    url.username = encodeURIComponent(user);
    url.password = encodeURIComponent(password);
    url.pathname = `/${database}`;
    return url.href;
  };
  /** Who the servers say it is; or the SQLSTATE. */
  const logIn = (user: string, password: string, database?: string, base?: string) =>
    queryOnce<{ who: string }>(urlOf(user, password, database, base), 'SELECT session_user AS who').then(
      (rows) => rows[0]?.who ?? '',
      (error) => String(error.code ?? error.message),
    );

  async function inAnother(options: TestFairleadOptions, test: (url: string) => Promise<void>): Promise<void> {
    const other = await startFairlead(cluster, { config: { failover: { mode: 'off' } }, ...options });
    try {
      await until(() => other.app.cluster.topology.value.replicas.length === 1, { what: 'primary and replica' });
      await test(other.url);
    } finally {
      await other.stop();
    }
  }

  it('any of them, with the password that the servers know and with no other', async () => {
    await sql(`CREATE ROLE "Ann Other" LOGIN PASSWORD 'first'`);
    assert.equal(await logIn('Ann Other', 'first'), 'Ann Other');
    assert.equal(await logIn('Ann Other', 'second'), '28P01');
    assert.equal(await logIn('nobody_at_all', 'first'), '28P01');
    assert.equal(await logIn(cluster.superuser, cluster.password), cluster.superuser);
  });

  it('created, altered and dropped while it runs', async () => {
    assert.equal(await logIn('late', 'one'), '28P01');
    await sql(`CREATE ROLE late LOGIN PASSWORD 'one'`);
    await until(async () => (await logIn('late', 'one')) === 'late', { what: 'the new role to be let in' });
    await sql(`ALTER ROLE late PASSWORD 'two'`);
    // an attempt finds the old secret and forgets it, unless that was asked for just before
    let attempts = 0;
    const renewed = async () => {
      attempts++;
      return (await logIn('late', 'two')) === 'late';
    };
    await until(renewed, { what: 'the new password', everyMs: 300 });
    assert.ok(attempts <= 3, `${attempts} attempts`);
    assert.equal(await logIn('late', 'one'), '28P01');
    await sql('ALTER ROLE late NOLOGIN');
    await until(async () => (await logIn('late', 'two')).startsWith('28'), { what: 'NOLOGIN to be noticed' });
    await sql('ALTER ROLE late LOGIN');
    await until(async () => (await logIn('late', 'two')) === 'late', { what: 'LOGIN to be noticed' });
    await sql(`ALTER ROLE late VALID UNTIL 'yesterday'`);
    await until(async () => (await logIn('late', 'two')).startsWith('28'), { what: 'the expiry to be noticed' });
    await sql(`ALTER ROLE late VALID UNTIL 'infinity'`);
    await until(async () => (await logIn('late', 'two')) === 'late', { what: 'the new date to be noticed' });
    await sql('DROP ROLE late');
    await until(async () => (await logIn('late', 'two')).startsWith('28'), { what: 'the drop to be noticed' });
  });

  it('with a new password: a session that began with the old one is ended when it needs a new connection, and comes back', async () => {
    await sql(`CREATE ROLE changing LOGIN PASSWORD 'old'`);
    const session = await Connection.open(urlOf('changing', 'old'));
    await session.rows('SELECT 1');
    await sql(`ALTER ROLE changing PASSWORD 'new'`);
    const idle = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'changing'`;
    await Promise.all(cluster.nodes.map((node) => node.query(idle)));
    const ended = async () => {
      await session.rows('/* fairlead: primary */ SELECT 1').catch(() => {});
      return session.lost !== null;
    };
    await until(ended, { what: 'the end of the session' });
    await until(async () => (await logIn('changing', 'new')) === 'changing', { what: 'the new password' });
    assert.equal(await logIn('changing', 'old'), '28P01');
  });

  it('also those of a list, when they are dropped at the servers', async () => {
    await sql(`CREATE ROLE listed LOGIN PASSWORD 'pw'`);
    await inAnother({ auth: { users: { listed: 'pw' }, query: 'off' } }, async (base) => {
      const first = await logIn('listed', 'pw', 'postgres', base);
      assert.equal(first, 'listed');
      await sql('DROP ROLE listed');
      const login = () => logIn('listed', 'pw', 'postgres', base);
      await until(async () => (await login()).startsWith('28'), { what: 'the drop to be noticed' });
      // another role of that name does not get what the first one's connections could
      await sql(`CREATE ROLE listed LOGIN PASSWORD 'pw'`);
      await until(async () => (await login()) === 'listed', { what: 'the new role' });
      assert.equal(await logIn('Ann Other', 'first', 'postgres', base), '28P01');
    });
  });

  it('not those of another role that had the name before', async () => {
    await sql(`CREATE ROLE renamed LOGIN PASSWORD 'first'`);
    const before = await Connection.open(urlOf('renamed', 'first'));
    await before.rows('SELECT 1');
    await sql('DROP ROLE renamed');
    await sql(`CREATE ROLE renamed LOGIN PASSWORD 'second'`);
    await until(async () => (await logIn('renamed', 'second')) === 'renamed', { what: 'the new role to be let in' });
    await assert.rejects(before.rows('SELECT current_user'), 'the session of the old one');
    await until(() => before.lost !== null, { what: 'its end' });
  });

  it('with what is set for them, and with the rights they have now', async () => {
    await sql(`CREATE ROLE risen LOGIN SUPERUSER PASSWORD 'pw'`);
    const told = async () => {
      const client = await RawClient.connect(urlOf('risen', 'pw'));
      await client.end();
      return [client.parameters.get('is_superuser'), client.parameters.get('DateStyle')];
    };
    assert.deepEqual(await told(), ['on', 'ISO, MDY']);
    await sql('ALTER ROLE risen NOSUPERUSER');
    await sql(`ALTER ROLE risen SET datestyle = 'SQL, DMY'`);
    assert.deepEqual(await told(), ['off', 'SQL, DMY']);
    const target = await RawClient.connect(urlOf(cluster.superuser, cluster.password));
    const signal = `SELECT pg_terminate_backend(${target.pid})`;
    await assert.rejects(queryOnce(urlOf('risen', 'pw'), signal), { code: '42501' });
    await target.end();
  });

  it('of a users file as PgBouncer has it, read again when it changes', async () => {
    const file = join(directory, 'userlist.txt');
    const [row] = (await sql(`SELECT rolpassword AS secret FROM pg_authid WHERE rolname = 'Ann Other'`)) as {
      secret: string;
    }[];
    await sql(`CREATE ROLE "qu""oted" LOGIN PASSWORD 'a "b"'; CREATE ROLE written LOGIN PASSWORD 'clear'`);
    writeFileSync(file, `; of PgBouncer\n"Ann Other" "${row?.secret}" ignored\n\n"qu""oted"\t"a ""b"""\n"locked" ""\n`);
    await inAnother({ auth: { users_file: file, query: 'off' } }, async (base) => {
      assert.equal(await logIn('Ann Other', 'first', 'postgres', base), 'Ann Other');
      assert.equal(await logIn('qu"oted', 'a "b"', 'postgres', base), 'qu"oted');
      assert.equal(await logIn('locked', 'x', 'postgres', base), '28P01');
      assert.equal(await logIn('written', 'clear', 'postgres', base), '28P01');
      writeFileSync(file, `"written" "clear"\n`);
      const login = () => logIn('written', 'clear', 'postgres', base);
      await until(async () => (await login()) === 'written', { what: 'the changed file' });
      assert.equal(await logIn('qu"oted', 'a "b"', 'postgres', base), '28P01');
      writeFileSync(file, 'not of that form\n');
      assert.equal(await login(), 'written');
    });
    await assert.rejects(startFairlead(cluster, { auth: { users_file: join(directory, 'none') } }), {
      code: 'bad_config',
    });
  });

  it('asked with a query of its own, or with the rights of a role that may read little', async () => {
    await sql(`CREATE SCHEMA secrets; CREATE FUNCTION secrets.lookup(name) RETURNS TABLE (u text, p text) LANGUAGE sql SECURITY DEFINER
      AS 'SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1';
      CREATE ROLE weak LOGIN REPLICATION PASSWORD 'weak' IN ROLE pg_monitor; GRANT USAGE ON SCHEMA secrets TO weak`);
    const weak = { user: 'weak', password: 'weak' };
    const query = 'SELECT * FROM secrets.lookup($1)';
    await inAnother({ cluster: weak, auth: { query } }, async (base) => {
      assert.equal(await logIn('Ann Other', 'first', 'postgres', base), 'Ann Other');
      assert.equal(await logIn('Ann Other', 'wrong', 'postgres', base), '28P01');
    });
    await inAnother({ cluster: weak, auth: {} }, async (base) => {
      assert.equal(await logIn('Ann Other', 'first', 'postgres', base), '28P01');
    });
    await sql('GRANT SELECT ON pg_catalog.pg_shadow TO weak');
    await inAnother({ cluster: weak, auth: {} }, async (base) => {
      assert.equal(await logIn('Ann Other', 'first', 'postgres', base), 'Ann Other');
    });
    await inAnother({ cluster: weak, auth: { query: 'SELECT broken($1)' } }, async (base) => {
      assert.equal(await logIn('Ann Other', 'first', 'postgres', base), '57P03');
      // why is for the log, not for somebody who has proved nothing
      await assert.rejects(queryOnce(urlOf('anybody', '', 'postgres', base), ''), /^error: it cannot be found out now/);
    });
  });

  it('logs in to servers as they want it', {
    skip: usesDocker() ? 'needs the files of the servers' : false,
  }, async () => {
    await sql(`CREATE ROLE plain LOGIN PASSWORD 'pw'; CREATE ROLE trusted LOGIN PASSWORD 'pw';
      SET password_encryption = 'md5'; CREATE ROLE five LOGIN PASSWORD 'pw'`);
    await setHba(cluster, [
      'host all five 127.0.0.1/32 md5',
      'host all plain 127.0.0.1/32 password',
      'host all trusted 127.0.0.1/32 trust',
      'host all all 127.0.0.1/32 scram-sha-256',
    ]);
    assert.equal(await logIn('trusted', 'pw'), 'trusted');
    assert.equal(await logIn('trusted', 'wrong'), '28P01');
    await inAnother({ auth: { users: { plain: 'pw', five: 'pw' } } }, async (base) => {
      assert.equal(await logIn('plain', 'pw', 'postgres', base), 'plain');
      assert.equal(await logIn('five', 'pw', 'postgres', base), 'five');
    });
    // only the verifier is known, and the server wants the password itself: the error says what to do
    const error = await queryOnce(urlOf('plain', 'pw'), 'SELECT 1').catch((e) => e);
    assert.equal(error.code, '28000');
    assert.match(error.message, /asks user plain for its password, and only SCRAM keys are known/);
    assert.match(error.hint, /auth\.users/);
  });

  it('and databases are those of the servers: what is wrong with one is said as they say it', async () => {
    await sql('CREATE DATABASE closed');
    await sql('REVOKE CONNECT ON DATABASE closed FROM PUBLIC');
    assert.equal(await logIn('Ann Other', 'first', 'closed'), '42501');
    const error = await queryOnce(urlOf('Ann Other', 'first', 'nowhere'), 'SELECT 1').catch((e) => e);
    assert.deepEqual(
      [error.severity, error.code, error.message],
      ['FATAL', '3D000', 'database "nowhere" does not exist'],
    );
    await sql('GRANT CONNECT ON DATABASE closed TO "Ann Other"');
    await until(async () => (await logIn('Ann Other', 'first', 'closed')) === 'Ann Other', { what: 'the privilege' });
    await sql('REVOKE CONNECT ON DATABASE closed FROM "Ann Other"');
    await until(async () => (await logIn('Ann Other', 'first', 'closed')) === '42501', { what: 'its end' });
  });

  it('and no secret is ever logged', async () => {
    const rows = (await sql('SELECT rolpassword AS secret FROM pg_authid WHERE rolpassword IS NOT NULL')) as {
      secret: string;
    }[];
    assert.ok(logged.length > 0 && rows.length > 3);
    const text = logged.join('\n');
    const verifiers = rows.flatMap(({ secret }) => [secret, secret.split('$')[2] ?? secret]);
    for (const secret of [...verifiers, cluster.password, `'first'`, `'two'`]) {
      assert.ok(!text.includes(secret), 'a secret in the log');
    }
  });
});
