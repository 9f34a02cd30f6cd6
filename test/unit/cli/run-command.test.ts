import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Context } from '../../../src/cli/command.ts';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { describe as describeError, runCommand } from '../../../src/cli/run-command.ts';
import { FairleadError } from '../../../src/core/errors.ts';
import { PLAN } from '../../support/operations.ts';

type Output = { code: number; out: string[]; err: string[] };

async function run(...args: string[]): Promise<Output> {
  const out: string[] = [];
  const err: string[] = [];
  const context: Context = {
    startApp: () => Promise.reject(new Error('not here')),
    environment: {},
    print: (line) => out.push(line),
    note: (line) => err.push(line),
  };
  return { code: await runCommand(args, context), out, err };
}

describe('runCommand', () => {
  it('lists every command', async () => {
    const { code, out } = await run('help');
    assert.equal(code, 0);
    for (const { name } of COMMANDS) assert.ok(out.join('\n').includes(`  ${name} `), name);
  });

  it('explains one command, also by --help', async () => {
    assert.match((await run('help', 'demo')).out.join('\n'), /--data-dir/);
    assert.match((await run('demo', '--help')).out.join('\n'), /--data-dir/);
  });

  it('explains every key of the configuration', async () => {
    assert.match((await run('help', 'config')).out.join('\n'), /FAIRLEAD_POOL_SIZE/);
  });

  it('imports a configuration of PgBouncer, and overwrites nothing', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'fairlead-import-'));
    try {
      const ini = join(directory, 'pgbouncer.ini');
      const output = join(directory, 'fairlead.yaml');
      writeFileSync(ini, '[databases]\napp = host=10.0.0.1 connect_query=x\n[pgbouncer]\nadmin_users = boss\n');
      const printed = await run('import', ini);
      assert.equal(printed.code, 0);
      assert.match(printed.out.join('\n'), /^cluster:\n {2}user: boss\n {2}nodes:\n {4}pg1: 10\.0\.0\.1:5432$/m);
      const written = await run('import', ini, '--output', output);
      assert.equal(written.code, 0);
      assert.match(written.err.join('\n'), /connect_query=x has no counterpart/);
      assert.equal(readFileSync(output, 'utf8').trimEnd(), printed.out.join('\n'));
      assert.equal(statSync(output).mode & 0o777, 0o600);
      const again = await run('import', ini, '--output', output);
      assert.equal(again.code, 2);
      assert.match(again.err.join('\n'), /exists already/);
      assert.equal((await run('import')).code, 2);
      assert.equal((await run('import', join(directory, 'none.ini'))).code, 2);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('answers wrong arguments with exit code 2 and one line', async () => {
    for (const args of [
      ['strat'],
      ['start', '--bogus'],
      ['start'],
      ['start', '-c', '/nonexistent.yaml'],
      ['demo', '--port', 'x'],
      ['demo', '--replicas', '-1'],
      ['demo', 'more'],
      ['drain'],
      ['status', '--http', 'http://'],
      ['help', 'bogus'],
    ]) {
      const { code, out, err } = await run(...args);
      assert.equal(code, 2, args.join(' '));
      assert.equal(err.length, 1, args.join(' '));
      assert.ok(!err[0]?.includes('\n'));
      assert.deepEqual(out, []);
    }
    assert.match((await run('strat')).err[0] ?? '', /did you mean start\?/);
  });

  it('answers a failure with exit code 1', async () => {
    const { code, err } = await run('status', '--http', 'http://127.0.0.1:1');
    assert.equal(code, 1);
    assert.match(err[0] ?? '', /no Fairlead answers at/);
  });

  it('names the address that is taken', () => {
    const error = Object.assign(new Error('listen EADDRINUSE'), {
      code: 'EADDRINUSE',
      address: '127.0.0.1',
      port: 6432,
    });
    assert.match(describeError(error), /^127\.0\.0\.1:6432 is taken; /);
    assert.match(describeError(new FairleadError('refused', 'a\n b', 'do c')), /^a \| b; do c$/);
  });
});

describe('operators’ commands', () => {
  const asked: { method: string; url: string; authorization: string; body: string }[] = [];
  let answer = { status: 200, body: {} as object };
  const server = createHttpServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      asked.push({ method, url, authorization: headers.authorization ?? '', body });
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer.body));
    });
  });
  let http: string;
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    http = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => new Promise((resolve) => server.close(resolve)));

  it('ask for what they are named after, with the token', async () => {
    answer = { status: 200, body: { done: true, primary: 'pg2', epoch: 2, node: 'pg3', state: 'drained' } };
    asked.length = 0;
    assert.match((await run('switchover', '--to', 'pg2', '--http', http, '--token', 't')).out[0] ?? '', /pg2.*epoch 2/);
    await run('failover', '--http', http);
    await run('pause', '--http', http);
    await run('resume', '--http', http);
    assert.deepEqual((await run('drain', 'pg3', '--http', http)).out, ['pg3 is drained']);
    await run('undrain', 'pg3', '--http', `${http}/`);
    assert.deepEqual(
      asked.map(({ method, url }) => `${method} ${url}`),
      ['switchover', 'failover', 'pause', 'resume', 'nodes/pg3/drain', 'nodes/pg3/undrain'].map(
        (p) => `POST /api/${p}`,
      ),
    );
    assert.equal(asked[0]?.authorization, 'Bearer t');
    assert.equal(asked[0]?.body, '{"to":"pg2"}');
    assert.equal(asked[1]?.body, '{}');
    await run('failover', '--allow-data-loss', '--http', http);
    assert.equal(asked.at(-1)?.body, '{"allowDataLoss":true}');
  });

  it('switchover: what it would do, step by step, and 1 where it would be refused', async () => {
    answer = { status: 200, body: { plan: PLAN } };
    const possible = await run('switchover', '--plan', '--to', 'pg2', '--wait', '1.5s', '--http', http);
    assert.equal(possible.code, 0);
    assert.equal(asked.at(-1)?.body, '{"to":"pg2","plan":true,"wait":1500}');
    assert.deepEqual(possible.out, [
      'pg1 hands over to pg2: it was asked for',
      '  not pg3: pg2 was asked for',
      ' 1. hold: statements wait',
      ' 2. promote: pg2 is promoted',
      'writes are held for about 300 ms, with transactions that last up to 5300 ms',
      'nothing was changed',
    ]);
    const no = {
      ...PLAN,
      possible: false,
      reason: 'there is no replica',
      to: null,
      pause: null,
      steps: [],
      vetoes: [],
    };
    answer = { status: 200, body: { plan: no } };
    const refused = await run('switchover', '--plan', '--http', http);
    assert.equal(refused.code, 1);
    assert.deepEqual(refused.err, ['it would be refused: there is no replica']);
    assert.equal((await run('switchover', '--plan', '--json', '--http', http)).code, 1);
  });

  it('switchover: later, and taken back', async () => {
    const scheduled = { at: Date.parse('2026-12-01T03:00Z'), to: 'pg2', waitMs: null };
    answer = { status: 202, body: { scheduled } };
    const { out } = await run('switchover', '--at', '2026-12-01T03:00Z', '--to', 'pg2', '--http', http);
    assert.deepEqual(out, ['scheduled for 2026-12-01T03:00:00.000Z, to pg2']);
    assert.equal(asked.at(-1)?.body, '{"to":"pg2","at":"2026-12-01T03:00:00.000Z"}');
    await run('switchover', '--in', '10min', '--http', http);
    assert.equal(asked.at(-1)?.body, '{"in":600000}');
    answer = { status: 200, body: { primary: 'pg1', cancelled: { scheduled, underWay: true } } };
    assert.deepEqual((await run('switchover', '--cancel', '--http', http)).out, [
      'cancelled: the one of 2026-12-01T03:00:00.000Z, to pg2',
      'cancelled: pg1 takes writes again',
    ]);
    assert.equal((await run('switchover', '--cancel', '--plan', '--http', http)).code, 2);
    assert.equal((await run('switchover', '--at', 'soon', '--http', http)).code, 2);
    assert.equal((await run('switchover', '--in', 'a while', '--http', http)).code, 2);
  });

  it('exit with 1 and the reason when refused', async () => {
    answer = { status: 409, body: { error: 'pg2 is too far behind', remedy: 'wait' } };
    const { code, err } = await run('switchover', '--http', http);
    assert.equal(code, 1);
    assert.deepEqual(err, ['fairlead: pg2 is too far behind; wait']);
  });

  it('status prints a table, or JSON as it came', async () => {
    const node = { name: 'pg1', role: 'primary', state: 'streaming', address: 'h:1', timeline: 1, replayLsn: '0/1' };
    const nodes = [{ ...node, lag: { bytes: 0, ms: 0.4 }, reason: null }];
    answer = { status: 200, body: { epoch: 1, primary: 'pg1', phase: 'steady', reason: null, paused: false, nodes } };
    const { out } = await run('status', '--http', http);
    assert.equal(out[0], 'primary pg1, epoch 1, steady');
    assert.match(out[2] ?? '', /^pg1 {3}primary {2}streaming .*0 ms/);
    assert.deepEqual(JSON.parse((await run('status', '--json', '--http', http)).out[0] ?? ''), answer.body);
  });
});
