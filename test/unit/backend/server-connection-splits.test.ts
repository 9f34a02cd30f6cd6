import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, it } from 'node:test';
import { EXPECT, Exchange, type ExchangeOwner } from '../../../src/backend/exchange.ts';
import { PreparedStatements } from '../../../src/backend/prepared-statement.ts';
import { ServerConnection } from '../../../src/backend/server-connection.ts';
import type { LoggedIn } from '../../../src/backend/server-login.ts';
import { SERVER } from '../../../src/wire/message-type.ts';
import * as writer from '../../../src/wire/writer.ts';
import { type Random, randomFrom } from '../../support/random.ts';
import { NO_TLS } from '../../support/server-tls.ts';

/** One exchange: what was asked, and what the server answers. */
type Scene = { readonly prepare: (exchange: Exchange) => void; readonly extended: boolean; readonly reply: Buffer };

const statements = new PreparedStatements();
const statement = statements.intern(Buffer.from('SELECT 1\0\0\0'));

function rows(random: Random): Buffer[] {
  return Array.from({ length: random.int(20) }, () =>
    writer.dataRow([random.chance(0.1) ? null : 'x'.repeat(random.int(random.chance(0.1) ? 9000 : 40)), 'two']),
  );
}

function asides(random: Random): Buffer[] {
  const out: Buffer[] = [];
  if (random.chance(0.1)) out.push(writer.noticeResponse('NOTICE', '00000', 'n'.repeat(random.int(3000))));
  if (random.chance(0.1)) out.push(writer.parameterStatus('TimeZone', 'UTC'));
  if (random.chance(0.1))
    out.push(writer.message(SERVER.NOTIFICATION, Buffer.from('\0\0\0\x01chan\0payload\0', 'latin1')));
  return out;
}

function simpleScene(random: Random): Scene {
  const parts: Buffer[] = [];
  for (let i = random.int(3); i >= 0; i--) {
    parts.push(...asides(random));
    const kind = random.int(4);
    if (kind === 0) parts.push(writer.rowDescription(['a', 'b']), ...rows(random), writer.commandComplete('SELECT 1'));
    else if (kind === 1) parts.push(writer.EMPTY_QUERY);
    else if (kind === 2) {
      parts.push(writer.message(SERVER.COPY_OUT, Buffer.from([0, 0, 0])));
      parts.push(
        writer.message(SERVER.COPY_DATA, Buffer.alloc(random.int(70_000), 'd')),
        writer.message(SERVER.COPY_DONE, Buffer.alloc(0)),
      );
      parts.push(writer.commandComplete('COPY 1'));
    } else {
      parts.push(writer.errorResponse('ERROR', random.chance(0.5) ? '25006' : '22012', 'no'.repeat(random.int(900))));
      break;
    }
  }
  parts.push(writer.readyForQuery(random.chance(0.8) ? 0x49 : 0x54));
  const held = random.chance(0.4);
  const prepare = (exchange: Exchange) => {
    if (!held) return;
    exchange.held = [];
    exchange.refusable = (sqlState) => sqlState === '25006';
  };
  return { extended: false, prepare, reply: Buffer.concat(parts) };
}

function extendedScene(random: Random): Scene {
  const codes: number[] = [];
  const parts: Buffer[] = [];
  let failed = false;
  for (let i = random.int(12); i >= 0; i--) {
    const code = 1 + random.int(10);
    codes.push(code);
    if (failed) continue;
    parts.push(...asides(random));
    if (code === EXPECT.PARSE_REFUSED || (random.chance(0.08) && code !== EXPECT.CLOSE_SYNTH)) {
      parts.push(writer.errorResponse('ERROR', random.chance(0.5) ? '25006' : '42601', 'bad'));
      failed = true;
      continue;
    }
    if (code === EXPECT.PARSE || code === EXPECT.PARSE_SKIP) parts.push(writer.PARSE_COMPLETE);
    else if (code === EXPECT.BIND) parts.push(writer.BIND_COMPLETE);
    else if (code === EXPECT.DESCRIBE_STATEMENT) parts.push(writer.NO_PARAMETERS, writer.rowDescription(['a']));
    else if (code === EXPECT.DESCRIBE_PORTAL) parts.push(writer.NO_DATA);
    else if (code === EXPECT.CLOSE || code === EXPECT.CLOSE_SKIP) parts.push(writer.CLOSE_COMPLETE);
    else if (code === EXPECT.EXECUTE)
      parts.push(...rows(random), random.chance(0.3) ? writer.PORTAL_SUSPENDED : writer.commandComplete('SELECT 3'));
  }
  parts.push(writer.readyForQuery(0x49));
  const held = random.chance(0.4);
  const swallow = random.chance(0.2);
  const prepare = (exchange: Exchange) => {
    for (const code of codes) {
      const parses = code === EXPECT.PARSE || code === EXPECT.PARSE_SKIP;
      const clientName = code === EXPECT.PARSE_SKIP ? null : 'name';
      exchange.expect(code, parses ? { statement, unnamed: false, clientName, before: null } : null);
    }
    exchange.swallowReady = swallow;
    if (!held) return;
    exchange.held = [];
    exchange.refusable = (sqlState) => sqlState === '25006';
  };
  return { extended: true, prepare, reply: Buffer.concat(parts) };
}

/** Everything that leaves the connection, in order, as text. */
function run(scenes: readonly Scene[], chunks: readonly Buffer[]): string {
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const address = { host: 'h', port: 1, tls: NO_TLS };
  const keys = { parameters: new Map<string, string>(), pid: 1, secret: Buffer.alloc(4) };
  const login: LoggedIn = { socket: socket as Socket, address, encryption: 'plain', ...keys };
  const host = { node: 'n', closed() {} };
  const connection = new ServerConnection(host, login);
  const seen: string[] = [];
  let bytes: Buffer[] = [];
  const note = (text: string) => {
    seen.push(`${Buffer.concat(bytes).toString('latin1')}|${text}`);
    bytes = [];
  };
  connection.holder = {
    clientPid: null,
    async: (buffer, start, end) => bytes.push(Buffer.from(buffer.subarray(start, end))),
    closed: (error) => note(`closed ${error.message}`),
  };
  const owner: ExchangeOwner = {
    reply: (_exchange, buffer, start, end) => bytes.push(Buffer.from(buffer.subarray(start, end))),
    copyIn: () => note('copy in'),
    skipping: () => note('skipping'),
    finished: (exchange, status) => note(`finished ${status} ${exchange.sqlState} ${JSON.stringify(exchange.undone)}`),
    refused: (_exchange, sqlState, status) => note(`refused ${sqlState} ${status}`),
    lost: (_exchange, error) => note(`lost ${error.message}`),
  };
  for (const scene of scenes) {
    const exchange = new Exchange(owner, scene.extended, 0);
    scene.prepare(exchange);
    connection.submit(exchange, []);
  }
  for (const chunk of chunks) socket.emit('data', chunk);
  const rest = [connection.depth, [...connection.statements.oldestFirst()], [...connection.parameters]];
  connection.destroy('over');
  return JSON.stringify([seen, rest]);
}

describe('ServerConnection on a stream in pieces', () => {
  it('relays the same, however the stream is cut', () => {
    for (let seed = 1; seed <= 120; seed++) {
      const random = randomFrom(seed);
      const scenes = Array.from({ length: 1 + random.int(6) }, () =>
        random.chance(0.5) ? simpleScene(random) : extendedScene(random),
      );
      const whole = Buffer.concat(scenes.map((scene) => scene.reply));
      const expected = run(scenes, [whole]);
      assert.match(expected, /finished|refused/);
      for (let round = 0; round < 3; round++) {
        const chunks: Buffer[] = [];
        for (let pos = 0; pos < whole.length; ) {
          const size = 1 + random.int([7, 500, 20_000][round] as number);
          chunks.push(whole.subarray(pos, pos + size));
          pos += size;
        }
        assert.equal(run(scenes, chunks), expected, `seed ${seed}, round ${round}`);
      }
    }
  });

  it('reads a long notice in small pieces in time that does not grow with its square', () => {
    const processorMs = (megabytes: number): number => {
      const notice = writer.noticeResponse('NOTICE', '00000', 'n'.repeat(megabytes * 1024 * 1024));
      const scene: Scene = {
        extended: false,
        prepare() {},
        reply: Buffer.concat([notice, writer.readyForQuery(0x49)]),
      };
      const chunks: Buffer[] = [];
      for (let pos = 0; pos < scene.reply.length; pos += 8192) chunks.push(scene.reply.subarray(pos, pos + 8192));
      const before = process.cpuUsage();
      assert.match(run([scene], chunks), /finished 73/);
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000;
    };
    processorMs(8);
    const [short, long] = [processorMs(8), processorMs(64)];
    // eight times as much; its square would be 64 times
    assert.ok(long < Math.max(short, 20) * 24, `${short} ms for 8 MB, ${long} ms for 64 MB`);
  });
});
