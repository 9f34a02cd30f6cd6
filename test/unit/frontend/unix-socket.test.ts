import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { listenOnUnixSocket } from '../../../src/frontend/unix-socket.ts';

describe('a Unix socket', () => {
  const directory = mkdtempSync(join(tmpdir(), 'socket-'));
  const servers: net.Server[] = [];
  after(() => {
    for (const server of servers) server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function listen(path: string, mode = 0o777): Promise<net.Server> {
    const server = net.createServer();
    servers.push(server);
    await listenOnUnixSocket(server, path, mode);
    return server;
  }

  const close = (server: net.Server) => new Promise((resolve) => server.close(resolve));

  it('has the permissions asked for, and goes with its server', async () => {
    const path = join(directory, '.s.PGSQL.1');
    const server = await listen(path, 0o700);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    await close(server);
    assert.equal(existsSync(path), false);
  });

  it('takes the place of one that a killed process has left', async () => {
    const path = join(directory, '.s.PGSQL.2');
    const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await assert.rejects(listen(path), { code: 'port_taken' });
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await ended;
    assert.equal(existsSync(path), true);
    await close(await listen(path));
  });

  it('leaves alone what is no socket', async () => {
    const path = join(directory, '.s.PGSQL.3');
    writeFileSync(path, 'mine');
    await assert.rejects(listen(path), { code: 'bad_config', message: /no socket/ });
    assert.equal(existsSync(path), true);
  });

  it('says what is wrong with its directory', async () => {
    await assert.rejects(listen(join(directory, 'missing', '.s.PGSQL.4')), { code: 'bad_config' });
    await assert.rejects(listen(join(directory, 'x'.repeat(120))), { code: 'bad_config', message: /107 bytes/ });
  });
});
