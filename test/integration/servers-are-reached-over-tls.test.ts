import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import tls from 'node:tls';
import { ControlConnection } from '../../src/backend/control-connection.ts';
import { logIn } from '../../src/backend/server-login.ts';
import type { ConfigInput, ServerTls } from '../../src/config/config.ts';
import { openServerSocket } from '../../src/transport/server-socket.ts';
import { type Authority, type Certificate, makeAuthority } from '../support/certificates.ts';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { Connection } from '../support/connection.ts';
import { startFairlead } from '../support/fairlead.ts';
import { needsProgram } from '../support/needs.ts';
import { q, RawClient } from '../support/raw-client.ts';
import { enableTls, setHba } from '../support/server-files.ts';
import { NO_TLS } from '../support/server-tls.ts';
import { until } from '../support/wait.ts';

const skip = needsProgram('openssl') || (usesDocker() ? 'needs servers whose files are at hand' : false);

/** Every method but the last line's of a server, over TLS only or without it only. */
const HBA = [
  'hostssl all only_tls 127.0.0.1/32 scram-sha-256',
  'hostnossl all only_plain 127.0.0.1/32 scram-sha-256',
  'hostssl all certified 127.0.0.1/32 scram-sha-256 clientcert=verify-full',
  'hostssl all by_cert 127.0.0.1/32 cert',
  'host all by_md5 127.0.0.1/32 md5',
  'host all by_password 127.0.0.1/32 password',
];

describe('servers are reached over TLS', { skip }, () => {
  let cluster: TestCluster;
  let authority: Authority;
  let strangers: Authority;
  let own: Certificate;
  const password = randomBytes(12).toString('hex');

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    authority = makeAuthority();
    strangers = makeAuthority();
    own = authority.issue('certified', null);
    await enableTls(cluster, authority, authority.issue('db.example', 'IP:127.0.0.1,DNS:db.example', 'sha384'));
    const primary = cluster.node('pg1');
    for (const line of HBA) {
      await primary.query(
        `CREATE ROLE ${line.split(/\s+/)[2]} LOGIN REPLICATION PASSWORD '${password}' IN ROLE pg_monitor`,
      );
    }
    await primary.query(`SET password_encryption = 'md5'; ALTER ROLE by_md5 PASSWORD '${password}'`);
    await until(
      async () => (await cluster.node('pg2').query(`SELECT FROM pg_roles WHERE rolname = 'by_password'`)).length > 0,
      { what: 'the roles on the replica' },
    );
    await setHba(cluster, HBA);
  });

  after(async () => {
    authority?.remove();
    strangers?.remove();
    await cluster?.stop();
  });

  const targetOf = (user: string, tls: Partial<ServerTls>, host = '127.0.0.1') => ({
    name: 'pg1',
    node: 'pg1',
    host,
    port: cluster.node('pg1').port,
    tls: { ...NO_TLS, ...tls },
    database: 'postgres',
    user,
    password: user === cluster.superuser ? cluster.password : password,
    secret: { kind: 'password', password: user === cluster.superuser ? cluster.password : password } as const,
    parameters: [],
    timeoutMs: 20_000,
  });

  /** How a login as a client's user and one of our own end: encrypted or not, or with which error. */
  async function outcome(user: string, tls: Partial<ServerTls>, host?: string): Promise<string> {
    const target = targetOf(user, tls, host);
    const loggedIn = await logIn(target).then(
      ({ socket, encryption }) => {
        socket.destroy();
        return encryption as string;
      },
      (error) => `${error.code}: ${error.message}`,
    );
    const control = new ControlConnection(target, 'test');
    const asked = await control
      .query<{ ssl: boolean }>('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')
      .then(
        (rows) => (rows[0]?.ssl ? 'tls' : 'plain'),
        (error) => `${error.kind}: ${error.message}`,
      );
    control.close();
    const refused = [loggedIn, asked].filter((text) => /: /.test(text));
    assert.ok(refused.length !== 1, `a client's login: ${loggedIn}; our own: ${asked}`);
    if (refused.length === 0) assert.equal(loggedIn, asked);
    return loggedIn;
  }

  it('as the mode says where the server takes both', async () => {
    for (const [mode, expected] of [
      ['disable', 'plain'],
      ['allow', 'plain'],
      // on loopback
      ['prefer', 'plain'],
      ['require', 'tls'],
    ] as const) {
      assert.equal(
        await outcome(cluster.superuser, { mode }).catch(String),
        expected === 'tls' ? 'tls' : 'plain',
        mode,
      );
    }
  });

  it('in the other way where pg_hba.conf wants that and the mode leaves the choice', async () => {
    for (let round = 0; round < 2; round++) {
      assert.equal(await outcome('only_tls', { mode: 'allow' }), 'tls');
      assert.equal(await outcome('only_tls', { mode: 'prefer' }), 'tls');
      assert.equal(await outcome('only_plain', { mode: 'prefer', ca: authority.ca }), 'plain');
    }
    assert.match(await outcome('only_tls', { mode: 'disable' }), /no pg_hba.conf entry .*no encryption/);
    assert.match(await outcome('only_plain', { mode: 'require' }), /no pg_hba.conf entry .*SSL encryption/);
  });

  it('and verifies the certificate, and with verify-full the name in it', async () => {
    const { superuser } = cluster;
    assert.equal(await outcome(superuser, { mode: 'verify-ca', ca: authority.ca }), 'tls');
    assert.equal(await outcome(superuser, { mode: 'verify-full', ca: authority.caFile }), 'tls');
    assert.equal(await outcome(superuser, { mode: 'verify-ca', ca: authority.ca }, 'localhost'), 'tls');
    assert.match(await outcome(superuser, { mode: 'verify-full', ca: authority.ca }, 'localhost'), /ALTNAME_INVALID/);
    assert.match(
      await outcome(superuser, { mode: 'verify-ca', ca: strangers.ca }),
      /TLS with .* failed: .*certificate/,
    );
    assert.match(await outcome(superuser, { mode: 'verify-full', ca: 'system' }), /TLS with .* failed: .*certificate/);
    // as libpq: whoever names a CA wants it used
    assert.match(await outcome(superuser, { mode: 'require', ca: strangers.ca }), /TLS with .* failed: .*certificate/);
    assert.match(await outcome(superuser, { mode: 'require', ca: '/nowhere/ca.crt' }), /cluster.tls.ca: cannot read/);
  });

  it('shows its own certificate where the server asks for one', async () => {
    const { cert, key } = own;
    assert.equal(await outcome('certified', { mode: 'require', cert, key }), 'tls');
    assert.match(await outcome('certified', { mode: 'require' }), /requires a valid client certificate|authentication/);
    const other = strangers.issue('certified', null);
    assert.match(
      await outcome('certified', { mode: 'require', cert: other.cert, key: other.key }),
      /TLS with .* failed|28/,
    );
    const byCert = authority.issue('by_cert', null);
    assert.equal(await outcome('by_cert', { mode: 'require', cert: byCert.certFile, key: byCert.keyFile }), 'tls');
  });

  it('by md5 and by a password in clear text, over TLS and on loopback', async () => {
    for (const user of ['by_md5', 'by_password']) {
      assert.equal(await outcome(user, { mode: 'require' }), 'tls');
      assert.equal(await outcome(user, { mode: 'disable' }), 'plain');
    }
  });

  async function through(tls: ConfigInput['cluster']['tls'], user: string, test: (url: string) => Promise<void>) {
    const fairlead = await startFairlead(cluster, {
      cluster: { user, password, tls },
      auth: { users: { [user]: password } },
      config: { failover: { mode: 'off' } },
    });
    try {
      const url = fairlead.url.replace(/\/\/[^@]*@/, `//${user}:${password}@`);
      await until(() => fairlead.app.cluster.topology.value.replicas.length === 1, { what: 'primary and replica' });
      await test(url);
    } finally {
      await fairlead.stop();
    }
  }

  it('with everything Fairlead does: reads, writes, the stream, cancel requests, the store', async () => {
    await cluster
      .node('pg1')
      .query('GRANT ALL ON SCHEMA public TO certified; GRANT CREATE ON DATABASE postgres TO certified');
    const tls = { mode: 'verify-full', ca: authority.caFile, cert: own.certFile, key: own.keyFile } as const;
    await through(tls, 'certified', async (url) => {
      const connection = await Connection.open(url);
      try {
        await connection.rows('CREATE TABLE seen (v int)');
        await connection.rows('INSERT INTO seen VALUES (1)');
        assert.deepEqual(await connection.rows('SELECT v FROM seen'), [{ v: 1 }]);
      } finally {
        await connection.close();
      }
      const raw = await RawClient.connect(url);
      raw.send(q('SELECT pg_sleep(30)'));
      const running = `SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'`;
      await until(
        async () =>
          (await Promise.all(cluster.nodes.map((node) => node.query(running)))).some((rows) => rows.length > 0),
        { what: 'the statement to run' },
      );
      await raw.cancel();
      assert.ok((await raw.untilReady()).some((m) => m.type === 'E' && m.body.includes('57014')));
      await raw.end();
      const streams = `SELECT FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE application_name = 'fairlead-stream' AND ssl`;
      await until(async () => (await cluster.node('pg1').query(streams)).length === 1, {
        what: 'the encrypted stream',
      });
      const insecure = await cluster
        .node('pg1')
        .query(
          `SELECT application_name FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE usename = 'certified' AND NOT ssl`,
        );
      assert.deepEqual(insecure, []);
    });
  });

  it('binds SCRAM to the channel: who stands between with a certificate of his own gets no login', async () => {
    const { port } = cluster.node('pg1');
    const between = await standBetween(port, authority.issue('db.example', 'IP:127.0.0.1'));
    try {
      const target = { ...targetOf('only_tls', { mode: 'verify-full', ca: authority.ca }), port: between.port };
      await assert.rejects(logIn(target), /channel binding check failed/);
      const control = new ControlConnection(target, 'test');
      await assert.rejects(control.query('SELECT 1'), /channel binding check failed/);
      control.close();
    } finally {
      await between.stop();
    }
  });
});

/** Takes TLS connections with a certificate of its own and carries the bytes on over TLS. */
async function standBetween(serverPort: number, { cert, key }: Certificate) {
  const sockets = new Set<net.Socket>();
  const keep = <S extends net.Socket>(socket: S): S => {
    sockets.add(socket);
    socket.on('error', () => {});
    return socket;
  };
  const server = net.createServer((client) => {
    keep(client).once('data', () => {
      client.write('S');
      const near = keep(new tls.TLSSocket(client, { isServer: true, cert, key }));
      const address = { host: '127.0.0.1', port: serverPort, tls: { ...NO_TLS, mode: 'require' as const } };
      openServerSocket(address, 'tls', (_error, far) => {
        if (far !== null) near.pipe(keep(far)).pipe(near);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(resolve);
      }),
  };
}
