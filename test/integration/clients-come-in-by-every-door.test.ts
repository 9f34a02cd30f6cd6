import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import tls from 'node:tls';
import { promisify } from 'node:util';
import pg from 'pg';
import { type App, startApp } from '../../src/app.ts';
import type { ConfigInput } from '../../src/config/config.ts';
import type { Log } from '../../src/core/log.ts';
import { GSS_REQUEST, SSL_REQUEST, startupPacket } from '../../src/wire/startup.ts';
import { cstrings, message } from '../../src/wire/writer.ts';
import { type Authority, type Certificate, makeAuthority } from '../support/certificates.ts';
import { startTestCluster, type TestCluster, usesDocker } from '../support/cluster.ts';
import { configFor } from '../support/fairlead.ts';
import { needsProgram } from '../support/needs.ts';
import { errorOf, q, RawClient, sqlStateOf } from '../support/raw-client.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const run = promisify(execFile);
const skip = needsProgram('openssl') || (usesDocker() ? 'needs a Unix socket and files at hand' : false);
const psqlSkip = needsProgram('psql');

const RULES = [
  'local    fairlead stored                trust',
  'local    all all                        scram-sha-256',
  'hostnossl all only_tls   127.0.0.1/32   reject',
  'hostssl  all by_cert     127.0.0.1/32   cert',
  'hostssl  all mapped      127.0.0.1/32   cert map=people',
  'hostssl  all certified   127.0.0.1/32   scram-sha-256 clientcert=verify-ca',
  'host     all by_md5,hashed,verified 127.0.0.0 255.255.255.0 md5',
  'host     all by_password 127.0.0.1/32   password',
  'host     all trusted     127.0.0.1/32   trust',
  'host     sameuser,postgres,fairlead postgres,only_tls,stored,nobody all scram-sha-256',
];

/** Everybody who logs in at the servers. */
const USERS = [
  'only_tls',
  'by_cert',
  'mapped',
  'certified',
  'by_md5',
  'hashed',
  'verified',
  'by_password',
  'trusted',
  'stored',
];

describe('clients come in by every door', { skip }, () => {
  let cluster: TestCluster;
  let app: App;
  let authority: Authority;
  let strangers: Authority;
  let own: Certificate;
  let directory: string;
  let config: ConfigInput;
  const password = `secret-${randomBytes(12).toString('hex')}`;
  const verifiers: string[] = [];
  const logged: string[] = [];
  const sockets: net.Socket[] = [];
  /** Asks for TLS and does not begin with it. */
  let stalled: net.Socket;
  let saidToStalled: Promise<string>;
  const note = (fields: object, text: string) => {
    logged.push(`${text} ${JSON.stringify(fields, (_, value) => (typeof value === 'bigint' ? String(value) : value))}`);
  };
  const log: Log = { debug: note, info: note, warn: note, error: note };

  before(async () => {
    cluster = await startTestCluster({ replicas: 0 });
    authority = makeAuthority();
    strangers = makeAuthority();
    directory = mkdtempSync(join(tmpdir(), 'door-'));
    own = authority.issue('proxy.example', 'IP:127.0.0.1,DNS:localhost', 'sha384');
    writeFileSync(join(directory, 'ident'), 'people /^(.*)@example$ \\1\npeople boss mapped\n');
    const primary = cluster.node('pg1');
    for (const user of USERS) await primary.query(`CREATE ROLE ${user} LOGIN PASSWORD '${password}'`);
    const [row] = await primary.query<{ rolpassword: string }>(
      "SELECT rolpassword FROM pg_authid WHERE rolname = 'verified'",
    );
    verifiers.push(row?.rolpassword as string);
    // the servers ask for SCRAM: an md5 hash opens nothing there
    const hashed = (await primary.query<{ hash: string }>(`SELECT 'md5' || md5('${password}hashed') AS hash`))[0]?.hash;
    const { superuser } = cluster;
    config = {
      ...(configFor(cluster) as unknown as ConfigInput),
      tls: { cert: own.certFile, key: own.keyFile, ca: authority.caFile },
      unix_socket: { directory, mode: '0770' },
      auth: {
        rules: RULES,
        ident_file: join(directory, 'ident'),
        users: {
          [superuser]: cluster.password,
          ...Object.fromEntries(USERS.map((user) => [user, password])),
          hashed: hashed as string,
          verified: row?.rolpassword as string,
        },
        query: 'off',
        admins: ['stored'],
      },
    };
    // fewer clients than come in all: one that is not forgotten would be noticed
    const pool = { max_clients: 25, startup_timeout: '10s' };
    const read = () =>
      configFor(cluster, { config: { pool, tls: config.tls, unix_socket: config.unix_socket }, auth: config.auth });
    app = await startApp(read(), log, read);
    await untilServing({ url: url(superuser, cluster.password), http: `http://127.0.0.1:${app.http.port}` }, 0);
    stalled = (await tcp()) as net.Socket;
    sockets.pop();
    stalled.write(SSL_REQUEST);
    saidToStalled = all(stalled);
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });
  after(async () => {
    await app?.stop();
    authority?.remove();
    strangers?.remove();
    stalled?.destroy();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
    await cluster?.stop();
  });

  const url = (user: string, secret = password, database = 'postgres') =>
    `postgres://${user}:${secret}@127.0.0.1:${app.listen.port}/${database}`;

  /** libpq's words. @returns what psql prints. @throws Error with its stderr */
  async function psql(user: string, words: string, secret = password, sql = 'SELECT current_user'): Promise<string> {
    const target = `host=127.0.0.1 port=${app.listen.port} user=${user} dbname=postgres ${words}`;
    const env = { ...process.env, PGPASSWORD: secret, HOME: directory };
    return (await run('psql', ['-X', '-At', '-c', sql, target], { env })).stdout.trim();
  }

  async function tcp(): Promise<net.Socket> {
    const socket = net.connect({ host: '127.0.0.1', port: app.listen.port });
    sockets.push(socket);
    await new Promise((resolve) => socket.once('connect', resolve));
    return socket;
  }

  const byte = (socket: net.Socket) =>
    new Promise<string>((resolve) => socket.once('data', (chunk: Buffer) => resolve(chunk.toString('latin1'))));
  const all = (socket: net.Socket) =>
    new Promise<string>((resolve) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
    });

  function secure(socket: net.Socket | null, options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
    return new Promise((resolve, reject) => {
      const where = socket === null ? { host: '127.0.0.1', port: app.listen.port } : { socket };
      const secured = tls.connect(
        { ...where, ca: authority.ca, checkServerIdentity: () => undefined, ...options },
        () => resolve(secured),
      );
      sockets.push(secured);
      secured.once('error', reject);
    });
  }

  describe('TLS', () => {
    it('is spoken by libpq in every mode', { skip: psqlSkip }, async () => {
      const ca = `sslrootcert=${authority.caFile}`;
      for (const words of ['sslmode=disable', 'sslmode=prefer', 'sslmode=require', `sslmode=verify-full ${ca}`]) {
        assert.equal(await psql('stored', words), 'stored', words);
      }
      await assert.rejects(
        psql('stored', `sslmode=verify-ca sslrootcert=${strangers.caFile}`),
        /certificate verify failed/,
      );
      await assert.rejects(
        psql('stored', 'sslmode=require', `${password}x`),
        /password authentication failed for user "stored"/,
      );
    });

    it('binds SCRAM to the channel', { skip: psqlSkip }, async () => {
      const words = `channel_binding=require sslmode=verify-full sslrootcert=${authority.caFile}`;
      assert.equal(await psql('stored', words), 'stored');
      assert.equal(await psql('verified', words), 'verified', 'with a verifier, whose key is passed on to the server');
      await assert.rejects(psql('stored', 'channel_binding=require sslmode=disable'), /channel binding/);
    });

    it('is spoken by pg, with large results both ways', async () => {
      const client = new pg.Client({
        connectionString: url('stored'),
        ssl: { ca: authority.ca },
        enableChannelBinding: true,
      } as pg.ClientConfig);
      await client.connect();
      try {
        const text = 'x'.repeat(5_000_000);
        const { rows } = await client.query('SELECT $1::text AS text, length($1) AS length', [text]);
        assert.equal(rows[0].length, text.length);
        assert.equal(rows[0].text === text, true);
      } finally {
        await client.end();
      }
    });

    it('begins at once for a client that says so with ALPN', async () => {
      const secured = await secure(null, { ALPNProtocols: ['postgresql'] });
      assert.equal(secured.alpnProtocol, 'postgresql');
      const client = RawClient.on(secured, url('stored'));
      await client.logIn();
      assert.equal(await client.value('SELECT current_user'), 'stored');
      assert.equal(await client.value("SELECT length(repeat('y', 3000000))"), '3000000');
      await client.end();
    });

    it('begins at once only with that protocol', async () => {
      const without = await secure(null);
      const said = await all(without);
      assert.match(said, /C08P01/);
      assert.match(said, /ALPN/);
      await assert.rejects(secure(null, { ALPNProtocols: ['http/1.1'] }), /no application protocol|ALPN|alert/i);
    });

    it('takes requests for encryption in every order, each once', async () => {
      for (const order of [[GSS_REQUEST, SSL_REQUEST], [SSL_REQUEST]]) {
        const socket = await tcp();
        for (const request of order) {
          socket.write(request);
          assert.equal(await byte(socket), request === SSL_REQUEST ? 'S' : 'N');
        }
        const client = RawClient.on(await secure(socket), url('stored'));
        await client.logIn();
        assert.equal(await client.value('SELECT 1'), '1');
        await client.end();
      }
      const twice = await tcp();
      twice.write(GSS_REQUEST);
      assert.equal(await byte(twice), 'N');
      twice.write(GSS_REQUEST);
      assert.match(await all(twice), /C08P01/);
      const inside = await tcp();
      inside.write(SSL_REQUEST);
      assert.equal(await byte(inside), 'S');
      const secured = await secure(inside);
      secured.write(SSL_REQUEST);
      assert.match(await all(secured), /C08P01/);
    });

    it('takes nothing that came before the handshake', async () => {
      for (const request of [SSL_REQUEST, GSS_REQUEST]) {
        const socket = await tcp();
        socket.write(Buffer.concat([request, startupPacket([['user', 'trusted']])]));
        const said = await all(socket);
        assert.match(said, /unencrypted data after an encryption request/);
        assert.doesNotMatch(said, /^[SN]/);
      }
    });

    it('outlives clients that break off, or send something else', async () => {
      for (const garbage of ['\x16\x03\x01', '\x16\x03\x01\x00\x05hello', '\x16GET / HTTP/1.0\r\n\r\n']) {
        const socket = await tcp();
        socket.end(Buffer.from(garbage, 'latin1'));
        await all(socket);
      }
      const socket = await tcp();
      socket.write(SSL_REQUEST);
      assert.equal(await byte(socket), 'S');
      socket.resetAndDestroy();
      const client = await RawClient.connect(url('stored'));
      assert.equal(await client.value('SELECT 1'), '1');
      await client.end();
    });

    it('cancels over TLS', async () => {
      const client = RawClient.on(await secure(null, { ALPNProtocols: ['postgresql'] }), url('stored'));
      await client.logIn();
      client.send(q('SELECT pg_sleep(60)'));
      await until(
        async () =>
          (
            await cluster
              .node('pg1')
              .query(
                "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()",
              )
          ).length > 0,
        { what: 'the statement to run' },
      );
      const canceller = await secure(null, { ALPNProtocols: ['postgresql'] });
      canceller.write(client.cancelPacket);
      assert.equal(sqlStateOf(await client.untilReady()), '57014');
      await client.end();
    });
  });

  describe('certificates of clients', { skip: psqlSkip }, () => {
    const files = ({ certFile, keyFile }: Certificate) => `sslmode=require sslcert=${certFile} sslkey=${keyFile}`;

    it('say who it is', async () => {
      assert.equal(await psql('by_cert', files(authority.issue('by_cert', null)), ''), 'by_cert');
      const other = files(authority.issue('somebody', null));
      await assert.rejects(psql('by_cert', other, ''), /certificate authentication failed for user "by_cert"/);
      await assert.rejects(psql('by_cert', 'sslmode=require', ''), /requires a valid client certificate/);
      await assert.rejects(
        psql('by_cert', 'sslmode=disable', ''),
        /no pg_hba.conf entry for host "127.0.0.1", user "by_cert", database "postgres", no encryption/,
      );
    });

    it('may be those of others by a map', async () => {
      for (const name of ['mapped@example', 'boss']) {
        assert.equal(await psql('mapped', files(authority.issue(name, null)), ''), 'mapped');
      }
      await assert.rejects(
        psql('mapped', files(authority.issue('mapped', null)), ''),
        /certificate authentication failed/,
      );
    });

    it('may be asked for beside a password', async () => {
      assert.equal(await psql('certified', files(authority.issue('anybody', null))), 'certified');
      await assert.rejects(psql('certified', 'sslmode=require'), /requires a valid client certificate/);
    });

    it('of somebody else’s authority are refused, with the reason', async () => {
      await assert.rejects(psql('by_cert', files(strangers.issue('by_cert', null)), ''), /certificate is not valid/);
    });
  });

  describe('methods', () => {
    const fails = (user: string, secret: string, sqlState: string) =>
      assert.rejects(RawClient.connect(url(user, secret)), { code: sqlState }, user);
    const enters = async (user: string, secret = password) => {
      const client = await RawClient.connect(url(user, secret));
      assert.equal(await client.value('SELECT current_user'), user);
      await client.end();
      return client.method;
    };

    it('are those of the first rule that fits', async () => {
      assert.equal(await enters('stored'), 10);
      assert.equal(await enters('by_md5'), 5);
      assert.equal(await enters('verified'), 10, 'a verifier cannot be checked by md5');
      assert.equal(await enters('by_password'), 3);
      assert.equal(await enters('trusted', 'whatever'), 0);
    });

    it('tell nobody what exists', async () => {
      const said: string[] = [];
      for (const [user, secret] of [
        ['stored', 'wrong'],
        ['nobody', 'wrong'],
      ] as const) {
        const error = await RawClient.connect(url(user, secret)).then(
          () => assert.fail('came in'),
          (e: Error & { code: string }) => e,
        );
        said.push(`${error.code} ${error.message.replace(user, 'X')}`);
      }
      assert.equal(said[0], said[1]);
      for (const user of ['by_md5', 'hashed', 'by_password', 'verified']) await fails(user, 'wrong', '28P01');
      await fails('stranger', password, '28000');
      await fails('only_tls', password, '28000');
    });

    it('take an md5 hash for md5', async () => {
      const error = await RawClient.connect(url('hashed')).then(
        () => null,
        (e: Error & { code: string }) => e,
      );
      // it came in; that the server asks for SCRAM is another matter
      assert.match(error?.message ?? '', /only an md5 hash is known/);
    });

    it('refuse garbled password messages', async () => {
      const attempts: readonly (readonly [string, Buffer])[] = [
        ['stored', Buffer.from('SCRAM-SHA-512\0\0\0\0\0')],
        ['stored', Buffer.from('SCRAM-SHA-256\0\0\0\0\x09x')],
        ['stored', Buffer.from('SCRAM-SHA-256')],
        ['stored', Buffer.from('SCRAM-SHA-256-PLUS\0\0\0\0\0')],
        ['by_password', Buffer.from('not terminated')],
        ['by_md5', Buffer.from('md5\0x\0')],
      ];
      for (const [user, body] of attempts) {
        const client = new RawClient(url(user));
        client.send(
          startupPacket([
            ['user', user],
            ['database', 'postgres'],
          ]),
        );
        await client.next();
        client.send(message(0x70, body));
        const answer = await client.next();
        assert.equal(errorOf(answer).sqlState, '08P01', `${user} ${body}`);
        client.socket.destroy();
      }
      const other = new RawClient(url('stored'));
      other.send(startupPacket([['user', 'stored']]), q('SELECT 1'));
      await other.next();
      assert.equal(errorOf(await other.next()).sqlState, '08P01');
    });

    it('let data of the SASL exchange come late', async () => {
      const client = new RawClient(url('stored'));
      client.send(startupPacket([['user', 'stored']]));
      await client.next();
      client.send(message(0x70, Buffer.concat([cstrings('SCRAM-SHA-256'), Buffer.from([255, 255, 255, 255])])));
      assert.equal((await client.next()).body.readInt32BE(0), 11);
      client.send(message(0x70, Buffer.from('n,,n=,r=abc')));
      assert.match((await client.next()).body.toString('latin1', 4), /^r=abc/);
      client.socket.destroy();
    });
  });

  describe('a Unix socket', () => {
    const path = () => join(directory, `.s.PGSQL.${app.listen.port}`);

    it('lets in by the rules for it', { skip: psqlSkip }, async () => {
      assert.equal(statSync(path()).mode & 0o777, 0o770);
      const target = `host=${directory} port=${app.listen.port} user=stored dbname=postgres sslmode=require`;
      const env = { ...process.env, PGPASSWORD: password };
      const { stdout } = await run('psql', ['-X', '-At', '-c', 'SELECT current_user', target], { env });
      assert.equal(stdout.trim(), 'stored');
    });

    it('is not what a client came by that is gone before it is looked at', async () => {
      const login = startupPacket([
        ['user', 'stored'],
        ['database', 'fairlead'],
      ]);
      const packets = Buffer.concat([login, q('RECONNECT')]);
      for (let i = 0; i < 50; i++) {
        const socket = await tcp();
        socket.on('error', () => {});
        socket.write(packets);
        socket.resetAndDestroy();
      }
      // whoever came behind them has been answered
      await (await RawClient.connect(url('stored'))).end();
      assert.deepEqual(
        logged.filter((line) => line.includes('RECONNECT')),
        [],
      );
    });

    it('has no TLS', async () => {
      const socket = net.connect({ path: path() });
      sockets.push(socket);
      socket.write(SSL_REQUEST);
      assert.equal(await byte(socket), 'N');
    });
  });

  describe('protocol 3.2', () => {
    const logIn = async (minor: number, parameters: readonly (readonly [string, string])[] = []) => {
      const client = new RawClient(url('trusted'));
      client.send(startupPacket([['user', 'trusted'], ['database', 'postgres'], ...parameters], minor));
      const seen = await client.untilReady();
      const key = seen.find((m) => m.type === 'K')?.body as Buffer;
      const negotiated = seen.find((m) => m.type === 'v')?.body ?? null;
      client.pid = key.readInt32BE(0);
      client.secret = key.subarray(4);
      return { client, negotiated };
    };

    it('has long cancel keys, which cancel', async () => {
      const { client, negotiated } = await logIn(2);
      assert.equal(negotiated, null);
      assert.equal(client.secret.length, 32);
      client.send(q('SELECT pg_sleep(61)'));
      await until(
        async () =>
          (
            await cluster
              .node('pg1')
              .query(
                "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(61)%' AND state = 'active' AND pid <> pg_backend_pid()",
              )
          ).length > 0,
        { what: 'the statement to run' },
      );
      await client.cancel(
        client.pid,
        Buffer.concat([client.secret.subarray(0, 31), Buffer.from([(client.secret[31] as number) ^ 1])]),
      );
      await client.cancel(client.pid, client.secret.subarray(0, 4));
      assert.equal(client.waiting.length, 0);
      await client.cancel();
      assert.equal(sqlStateOf(await client.untilReady()), '57014');
      await client.end();
    });

    it('is the newest: later ones and unknown options are negotiated', async () => {
      const old = await logIn(0);
      assert.equal(old.client.secret.length, 4);
      assert.equal(old.negotiated, null);
      const later = await logIn(9999, [
        ['_pq_.command_tag', 'x'],
        ['_pq_.other', 'y'],
      ]);
      assert.equal(later.negotiated?.readInt32BE(0), (3 << 16) | 2);
      assert.equal(later.negotiated?.readInt32BE(4), 2);
      assert.equal(later.negotiated?.toString('latin1', 8), '_pq_.command_tag\0_pq_.other\0');
      assert.equal(later.client.secret.length, 32);
      const asked = await logIn(0, [['_pq_.x', 'y']]);
      assert.equal(asked.negotiated?.readInt32BE(0), 3 << 16);
      for (const { client } of [old, later, asked]) await client.end();
    });

    it('is none of another major version', async () => {
      const socket = await tcp();
      const packet = startupPacket([['user', 'trusted']]);
      packet.writeInt32BE(4 << 16, 4);
      socket.write(packet);
      assert.match(await all(socket), /C0A000.*unsupported frontend protocol 4\.0/s);
    });
  });

  describe('a reload', () => {
    it('shows new clients the new certificate and the new rules, and leaves those there alone', async () => {
      const before = RawClient.on(await secure(null, { ALPNProtocols: ['postgresql'] }), url('stored'));
      await before.logIn();
      const renewed = authority.issue('renewed.example', 'IP:127.0.0.1');
      const { tls: given, auth } = config;
      try {
        config = {
          ...config,
          tls: { ...given, mode: 'require', cert: renewed.certFile, key: renewed.keyFile },
          auth: { ...auth, rules: ['host all trusted all reject', ...RULES] },
        };
        await app.reload();
        const secured = await secure(null, { ALPNProtocols: ['postgresql'] });
        assert.equal(secured.getPeerCertificate().subject.CN, 'renewed.example');
        assert.equal(await before.value('SELECT 1'), '1');
        await assert.rejects(RawClient.connect(url('stored')), { code: '28000', message: /requires TLS/ });
        const rejected = RawClient.on(secured, url('trusted'));
        await assert.rejects(rejected.logIn(), { code: '28000', message: /pg_hba.conf rejects connection for host/ });
        config = { ...config, tls: { ...given, cert: join(directory, 'missing') } };
        await assert.rejects(app.reload(), /cannot read/);
        await assert.rejects(RawClient.connect(url('stored')), { code: '28000' }, 'nothing has changed');
      } finally {
        config = { ...config, tls: given, auth };
        await app.reload();
      }
      await before.end();
      await (await RawClient.connect(url('stored'))).end();
    });
  });

  it('a client that does not go on with TLS is left at the deadline, without a word in clear text', async () => {
    assert.equal(await saidToStalled, 'S');
  });

  it('forgets clients that are gone', async () => {
    const one = async (i: number) => {
      const secured = await secure(null, { ALPNProtocols: ['postgresql'] });
      const client = RawClient.on(secured, url(i % 3 === 0 ? 'nobody' : 'stored'));
      await client.logIn().catch(() => {});
      client.socket.destroy();
      await until(() => client.socket.closed, { what: 'the end' });
    };
    for (let i = 0; i < 60; i += 4) await Promise.all([0, 1, 2, 3].map((k) => one(i + k)));
    const client = await RawClient.connect(url('stored'));
    assert.equal(await client.value('SELECT 1'), '1');
    await client.end();
  });

  it('writes no secret into its log', () => {
    const text = logged.join('\n');
    assert.match(text, /login refused/);
    for (const secret of [password, cluster.password, ...verifiers, own.key]) {
      assert.equal(text.includes(secret), false);
    }
  });

  it('removes its Unix socket', async () => {
    const path = join(directory, `.s.PGSQL.${app.listen.port}`);
    assert.equal(existsSync(path), true);
    await app.stop();
    assert.equal(existsSync(path), false);
  });
});
