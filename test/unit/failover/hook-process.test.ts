import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runHookProcess } from '../../../src/failover/hook-process.ts';
import { isAlive } from '../../support/is-alive.ts';
import { until } from '../../support/wait.ts';

describe('a hook', () => {
  let directory: string;
  const stopping = new AbortController();

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'fairlead-test-'));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  async function run(script: string, { timeoutMs = 20_000, input = {}, signal = stopping.signal } = {}) {
    const file = join(directory, `hook-${Math.random()}`);
    await writeFile(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return runHookProcess({ command: [file, 'a b', '$HOME'], timeoutMs, input, signal });
  }

  it('reads JSON and gets its arguments as they are', async () => {
    const { problem, stdout } = await run('cat; echo "$1|$2"', { input: { hook: 'validate', nodes: ['pg1'] } });
    assert.equal(problem, null);
    assert.equal(stdout, '{"hook":"validate","nodes":["pg1"]}\na b|$HOME\n');
  });

  it('says with its last line why not, or with its code', async () => {
    assert.equal((await run('echo first >&2; echo "not now" >&2; exit 3')).problem, 'not now');
    assert.equal((await run('exit 3')).problem, 'ended with code 3');
    assert.equal((await run('kill -TERM $$')).problem, 'was ended by SIGTERM');
  });

  it('may ignore its input, however much that is', async () => {
    assert.equal((await run('exit 0', { input: { text: 'x'.repeat(1_000_000) } })).problem, null);
  });

  it('is told apart from one that cannot be run', async () => {
    const command = [join(directory, 'nothing')];
    const { problem } = await runHookProcess({ command, timeoutMs: 20_000, input: {}, signal: stopping.signal });
    assert.match(problem ?? '', /cannot be run: .*ENOENT/);
  });

  it('is killed with all that it started when it takes too long', async () => {
    const pids = join(directory, 'pids');
    const { problem } = await run(`sleep 600 & echo $! > ${pids}; wait`, { timeoutMs: 4000 });
    assert.equal(problem, 'did not end within 4000 ms');
    const pid = Number(await readFile(pids, 'utf8'));
    await until(() => !isAlive(pid), { what: 'its child to be gone' });
  });

  it('is not waited for by what it leaves behind', async () => {
    const startedMs = performance.now();
    const { problem, stdout } = await run('sleep 10 & echo done');
    assert.deepEqual([problem, stdout], [null, 'done\n']);
    assert.ok(performance.now() - startedMs < 8000);
  });

  it('is killed when Fairlead stops', async () => {
    const aborted = new AbortController();
    const running = run('sleep 600', { signal: aborted.signal });
    setTimeout(() => aborted.abort(), 100);
    assert.equal((await running).problem, 'Fairlead stops');
  });

  it('keeps the end of much output', async () => {
    const { stdout } = await run('seq 1 20000; echo end');
    assert.equal(stdout.length, 8192);
    assert.match(stdout, /20000\nend\n$/);
  });

  it('has the environment, and no secret of the configuration', async () => {
    Object.assign(process.env, { FAIRLEAD_HTTP_TOKEN: 'secret', HOOK_TEST: 'kept' });
    try {
      const { stdout } = await run('echo "$HOOK_TEST|$FAIRLEAD_HTTP_TOKEN"');
      assert.equal(stdout, 'kept|\n');
    } finally {
      delete process.env.FAIRLEAD_HTTP_TOKEN;
      delete process.env.HOOK_TEST;
    }
  });
});
