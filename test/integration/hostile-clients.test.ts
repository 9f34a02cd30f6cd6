import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { cancelPacket, startupPacket } from '../../src/wire/startup.ts';
import { cstrings, message } from '../../src/wire/writer.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type FairleadProcess, startFairleadProcess } from '../support/fairlead-process.ts';
import { httpGet } from '../support/http.ts';
import { bind, execute, flush, parse, q, RawClient, sync, terminate } from '../support/raw-client.ts';
import { show, untilRested, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

const MB = 1024 * 1024;

function int32s(...values: number[]): Buffer {
  const out = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => {
    out.writeInt32BE(value, i * 4);
  });
  return out;
}

const SSL_REQUEST = int32s(8, 80877103);
const GSS_REQUEST = int32s(8, 80877104);
const CLIENT_HELLO = Buffer.from(
  `16030100fa010000f60303${'ab'.repeat(32)}20${'cd'.repeat(32)}0062130213031301c02c`,
  'hex',
);

/** Whoever asks the console is a client, too. */
const noOperator = (row: Record<string, unknown>) => row.database !== 'fairlead';

describe('hostile clients', () => {
  let cluster: TestCluster;
  let fairlead: FairleadProcess;
  const sockets = new Set<{ destroy(): void }>();

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    fairlead = await startFairleadProcess(cluster, { pool: { size: 4, startup_timeout: '5s' } });
    await untilServing(fairlead, 1);
    await cluster.node('pg1').query('CREATE TABLE things (id int)');
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    await untilRested(fairlead);
    const client = await RawClient.connect(fairlead.url);
    assert.equal(await client.value('SELECT 5'), '5');
    await client.end();
    assert.equal((await httpGet(`${fairlead.http}/healthz`)).status, 200);
    assert.deepEqual(fairlead.complaints(), []);
  });
  after(async () => {
    assert.equal(await fairlead?.stop(), 0);
    await cluster?.stop();
  });

  function open(url = fairlead.url): net.Socket {
    const { hostname, port } = new URL(url);
    const socket = net.connect({ host: hostname, port: Number(port) });
    socket.on('error', () => {});
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    return socket;
  }

  /** Sends bytes; resolves with the answer when the proxy has closed the connection. */
  function answerTo(bytes: readonly Buffer[], url?: string): Promise<Buffer> {
    return new Promise((resolve) => {
      const socket = open(url);
      const parts: Buffer[] = [];
      socket.on('data', (chunk) => parts.push(chunk));
      socket.once('close', () => resolve(Buffer.concat(parts)));
      for (const part of bytes) socket.write(part);
    });
  }

  async function logIn(): Promise<RawClient> {
    const client = await RawClient.connect(fairlead.url);
    sockets.add(client.socket);
    return client;
  }

  describe('before the login', () => {
    const user = startupPacket([
      ['user', 'postgres'],
      ['database', 'postgres'],
    ]);
    const cases: Record<string, readonly Buffer[]> = {
      'a TLS ClientHello without SSLRequest': [CLIENT_HELLO],
      HTTP: [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
      'a startup packet that is too long': [int32s(100_000, 3 << 16), Buffer.alloc(99_992, 'a')],
      'a length of zero': [int32s(0, 3 << 16)],
      'a length of four': [int32s(4)],
      'a negative length': [int32s(-5, 3 << 16)],
      'protocol 2.0': [int32s(296, 2 << 16), Buffer.alloc(288)],
      'protocol 1.0': [int32s(8, 1 << 16)],
      'parameters without an end': [int32s(16, 3 << 16), Buffer.from('user\0abc')],
      'no parameters': [int32s(9, 3 << 16), Buffer.from([0])],
      'a cancel request that is too short': [int32s(12, 80877102, 5)],
      'a cancel request that is too long': [int32s(1000, 80877102, 5), Buffer.alloc(988)],
      'a cancel request for nobody': [cancelPacket(5, Buffer.alloc(4))],
      'a cancel request with a secret of 200 bytes': [cancelPacket(5, Buffer.alloc(200))],
      'data behind SSLRequest': [Buffer.concat([SSL_REQUEST, CLIENT_HELLO])],
      'a query instead of a password': [user, q('SELECT 1')],
      'a password message of a negative length': [user, Buffer.from('p\xff\xff\xff\xff', 'latin1')],
      'a password message of a gigabyte': [user, Buffer.from([0x70, 0x40, 0, 0, 0]), Buffer.alloc(70_000)],
      'an empty password message': [user, message(0x70, Buffer.alloc(0))],
      'an unknown mechanism': [user, message(0x70, Buffer.concat([cstrings('PLAIN'), int32s(0)]))],
      'a malformed SCRAM message': [
        user,
        message(0x70, Buffer.concat([cstrings('SCRAM-SHA-256'), int32s(3), Buffer.from('n,,')])),
      ],
      'nothing but zero bytes': [Buffer.alloc(4096)],
      'Terminate at once': [terminate],
    };
    const lengths = new Set([
      ...['HTTP', 'a startup packet that is too long', 'a length of zero', 'a length of four', 'a negative length'],
      ...['nothing but zero bytes', 'Terminate at once'],
    ]);
    for (const [what, bytes] of Object.entries(cases)) {
      it(`${what}: is refused and closed`, async () => {
        const answer = await answerTo(bytes);
        const cancels = what.startsWith('a cancel request') && !what.includes('too');
        // who speaks TLS understands nothing that is said without; and PostgreSQL says nothing to a length that cannot be
        if (cancels || what.startsWith('a TLS') || lengths.has(what)) assert.equal(answer.length, 0);
        else assert.match(answer.toString('latin1'), /SFATAL\0VFATAL\0C(08P01|28P01|28000|0A000)\0/);
      });
    }

    it('random bytes are refused, or closed in time', async () => {
      await Promise.all(
        Array.from({ length: 200 }, () => answerTo([randomBytes(1 + Math.floor(Math.random() * 600))])),
      );
    });

    it('encryption that is asked for is declined, each kind once', async () => {
      for (const order of [
        [SSL_REQUEST, GSS_REQUEST, SSL_REQUEST],
        [GSS_REQUEST, SSL_REQUEST, GSS_REQUEST],
      ]) {
        const socket = open();
        const answers: string[] = [];
        for (const request of order) {
          socket.write(request);
          answers.push(
            await new Promise((resolve) => socket.once('data', (chunk: Buffer) => resolve(chunk.toString('latin1')))),
          );
        }
        assert.deepEqual(answers.slice(0, 2), ['N', 'N']);
        assert.match(answers[2] ?? '', /SFATAL\0VFATAL\0C08P01\0/);
        await new Promise((resolve) => socket.once('close', resolve));
      }
    });

    it('connections that say nothing, or half of something, are closed at the deadline', async () => {
      const startedMs = performance.now();
      const answers = await Promise.all([
        ...Array.from({ length: 100 }, () => answerTo([])),
        ...Array.from({ length: 100 }, () => answerTo([user.subarray(0, 11)])),
        ...Array.from({ length: 100 }, () => answerTo([user])),
      ]);
      assert.ok(performance.now() - startedMs < 30_000);
      for (const answer of answers) assert.match(answer.toString('latin1'), /SFATAL\0VFATAL\0C08006\0/);
    });

    it('a flood of password messages is refused with the first', async () => {
      const flood = message(0x70, Buffer.alloc(60_000, 'x'));
      const before = await fairlead.memory();
      await Promise.all(Array.from({ length: 50 }, () => answerTo([user, ...Array.from({ length: 20 }, () => flood)])));
      assert.ok((await fairlead.memory()) - before < 128 * MB);
    });
  });

  describe('on the HTTP port', () => {
    it('garbage is refused', async () => {
      const heads = [
        'GET',
        'POST /api/switchover HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n',
        `GET /${'a'.repeat(70_000)} HTTP/1.1\r\n\r\n`,
      ];
      await Promise.all([
        ...heads.slice(1).map((head) => answerTo([Buffer.from(head), Buffer.alloc(100_000)], fairlead.http)),
        answerTo([CLIENT_HELLO, randomBytes(500)], fairlead.http),
        answerTo([user(), q('SELECT 1')], fairlead.http),
      ]);
      // half a request holds nobody up
      open(fairlead.http).write('GET /healthz HT');
      assert.equal((await httpGet(`${fairlead.http}/healthz`)).status, 200);
      function user(): Buffer {
        return startupPacket([['user', 'x']]);
      }
    });
  });

  describe('after the login', () => {
    const cases: Record<string, Buffer> = {
      'an unknown type': Buffer.from([0x7a, 0, 0, 0, 4]),
      'a length of zero': Buffer.from([0x51, 0, 0, 0, 0]),
      'a negative length': Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff]),
      'a Sync of a gigabyte': Buffer.concat([Buffer.from([0x53, 0x40, 0, 0, 0]), Buffer.alloc(100_000)]),
      'a Parse without an end': message(0x50, Buffer.from('abc')),
      'a Bind without an end': message(0x42, Buffer.from('\0abc')),
      'an empty Describe': message(0x44, Buffer.alloc(0)),
      'a query without an end': message(0x51, Buffer.from('SELECT 1')),
      'an empty query message': message(0x51, Buffer.alloc(0)),
      'a password': message(0x70, cstrings('secret')),
    };
    for (const [what, bytes] of Object.entries(cases)) {
      it(`${what}: ends the session with a FATAL error`, async () => {
        const client = await logIn();
        client.send(bytes);
        const [error] = await client.untilType('E');
        assert.match(error?.body.toString('latin1') ?? '', /^SFATAL\0VFATAL\0C08P01\0/);
        await until(() => client.ended, { what: 'the end' });
      });
    }

    it('an unknown type inside an open batch ends it too', async () => {
      const client = await logIn();
      client.send(parse('SELECT 1'), bind(), execute(), flush);
      await client.untilType('C');
      client.send(Buffer.from([0x7a, 0, 0, 0, 4]));
      const [error] = await client.untilType('E');
      assert.match(error?.body.toString('latin1') ?? '', /^SFATAL\0/);
    });
  });

  it('1000 that come and vanish at random moments leave nothing behind', async () => {
    const before = await fairlead.memory();
    let toCome = 1000;
    const one = async () => {
      while (toCome-- > 0) await comeAndVanish(Math.random());
    };
    await Promise.all(Array.from({ length: 40 }, one));
    await untilRested(fairlead);
    const left = async () => (await show(fairlead.url, 'SHOW CLIENTS')).filter(noOperator).length;
    await until(async () => (await left()) === 0, { what: 'the end of all of them' });
    assert.ok((await fairlead.memory()) - before < 128 * MB);
  });

  async function comeAndVanish(fate: number): Promise<void> {
    if (fate < 0.2) {
      const socket = open();
      await new Promise((resolve) => socket.once('connect', resolve));
      socket.write(randomBytes(Math.floor(fate * 100)));
      return void (fate < 0.1 ? socket.destroy() : socket.resetAndDestroy());
    }
    const client = new RawClient(fairlead.url);
    sockets.add(client.socket);
    const login = client.logIn();
    login.catch(() => {});
    if (fate < 0.3) return client.vanish();
    await login;
    if (fate < 0.4) client.send(q('SELECT pg_sleep(10)'));
    else if (fate < 0.5) client.send(q("SET application_name = 'x'; BEGIN; INSERT INTO things VALUES (1)"));
    else if (fate < 0.6) client.send(parse('SELECT $1::int', 's'), bind('s', { values: ['1'] }), execute(), flush);
    else if (fate < 0.7) client.send(q('COPY things FROM STDIN'), message(0x64, Buffer.from('1\n')));
    else if (fate < 0.8) client.send(q(`SELECT '${'x'.repeat(100_000)}'`).subarray(0, 50_000));
    else if (fate < 0.9) client.send(q("SELECT repeat('x', 10000) FROM generate_series(1, 1000)"), sync);
    if (fate % 0.02 < 0.01) await client.next(20).catch(() => {});
    if (fate % 0.04 < 0.02) client.socket.destroy();
    else client.vanish();
  }

  it('2000 idle clients are no burden', async () => {
    const before = await fairlead.memory();
    const clients: RawClient[] = [];
    for (let i = 0; i < 40; i++) clients.push(...(await Promise.all(Array.from({ length: 50 }, () => logIn()))));
    assert.equal(await clients[1234]?.value('SELECT 7'), '7');
    assert.equal((await show(fairlead.url, 'SHOW CLIENTS')).filter(noOperator).length, 2000);
    assert.ok((await fairlead.memory()) - before < 256 * MB);
  });

  it('a slow reader of 300 MB gets it all, and costs no memory meanwhile', async () => {
    const client = await logIn();
    const before = await fairlead.memory();
    client.socket.removeAllListeners('data');
    client.socket.pause();
    client.send(q("SELECT repeat('x', 10000) FROM generate_series(1, 30000)"));
    await untilServerWaits();
    assert.ok((await fairlead.memory()) - before < 96 * MB);
    let bytes = 0;
    let last: Buffer = Buffer.alloc(0);
    client.socket.on('data', (chunk) => {
      bytes += chunk.length;
      last = chunk;
    });
    client.socket.resume();
    await until(() => last.length >= 6 && last.subarray(-6).equals(Buffer.from([0x5a, 0, 0, 0, 5, 0x49])), {
      what: 'the end of the result',
      timeoutMs: 120_000,
    });
    assert.ok(bytes > 30_000 * 10_000);
    assert.ok((await fairlead.memory()) - before < 96 * MB);
  });

  it('a client that asks and never reads is not answered without end', async () => {
    const client = await logIn();
    const before = await fairlead.memory();
    client.socket.pause();
    for (let i = 0; i < 40; i++)
      client.send(...Array.from({ length: 100 }, () => q(`SELECT repeat('x', 50000) -- ${'long '.repeat(1000)}`)));
    const pid = String(client.pid);
    await until(
      async () => {
        const row = (await show(fairlead.url, 'SHOW CLIENTS')).find((r) => r.id === pid);
        // between two answers, or with one that it holds back in its server connection
        return row !== undefined && row.state !== 'waiting' && client.socket.writableLength > 0;
      },
      { what: 'the proxy to wait for the client' },
    );
    assert.ok((await fairlead.memory()) - before < 96 * MB);
    client.socket.resume();
    await client.untilReady(4000, 120_000);
  });

  it('many Syncs that are never read are not answered without end either', async () => {
    const client = await logIn();
    client.socket.pause();
    const before = await fairlead.memory();
    const syncs = Buffer.concat(Array.from({ length: 200_000 }, () => sync));
    for (let i = 0; i < 60; i++) client.socket.write(syncs);
    await until(async () => client.socket.writableLength > 0 && (await fairlead.memory()) > 0, {
      what: 'a full socket',
    });
    assert.ok((await fairlead.memory()) - before < 96 * MB);
  });

  async function untilServerWaits(): Promise<void> {
    const waits = "SELECT FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
    await until(
      async () => {
        for (const node of cluster.nodes) if ((await node.query(waits)).length > 0) return true;
        return false;
      },
      { what: 'a server that waits for the proxy to read' },
    );
  }
});
