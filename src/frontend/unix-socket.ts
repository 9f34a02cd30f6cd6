import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import { FairleadError, messageOf } from '../core/errors.ts';

/** `sun_path` of Linux, its end included; a longer path would be cut off. */
const MAX_PATH_BYTES = 107;

/**
 * Listens on a file. One that is left over from a process that was killed is removed, but only when nobody answers on it.
 * The server removes its own when it is closed.
 * @throws FairleadError port_taken, bad_config
 */
export async function listenOnUnixSocket(server: net.Server, path: string, mode: number): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw bad(path, `its path has more than ${MAX_PATH_BYTES} bytes`, 'choose a shorter unix_socket.directory');
  }
  await removeStale(path);
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'EADDRINUSE' ? taken(path) : bad(path, messageOf(error)));
    });
    // nobody gets in before the permissions are what they should be
    const before = process.umask(0o777);
    try {
      server.listen({ path, backlog: 4096 }, () => {
        try {
          chmodSync(path, mode);
          resolve();
        } catch (error) {
          server.close();
          reject(bad(path, messageOf(error)));
        }
      });
    } finally {
      process.umask(before);
    }
  });
}

async function removeStale(path: string): Promise<void> {
  let isSocket: boolean;
  try {
    isSocket = lstatSync(path).isSocket();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw bad(path, messageOf(error));
  }
  if (!isSocket)
    throw bad(
      path,
      'there is a file of that name that is no socket',
      'remove it, or choose another unix_socket.directory',
    );
  const answer = await answerOf(path);
  if (answer === null) throw taken(path);
  if (answer !== 'ECONNREFUSED') {
    if (answer === 'ENOENT') return;
    throw bad(path, `who has it does not answer: ${answer}`, 'remove it if it is of no use any more');
  }
  try {
    unlinkSync(path);
  } catch (error) {
    throw bad(path, `cannot remove what a former process left: ${messageOf(error)}`);
  }
}

/** Null: somebody answers; else the code of the error. */
function answerOf(path: string): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = net.connect({ path }, () => {
      socket.destroy();
      resolve(null);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? messageOf(error)));
  });
}

function taken(path: string): FairleadError {
  return new FairleadError('port_taken', `cannot listen on ${path}: another process answers there`);
}

function bad(path: string, why: string, remedy = 'correct `unix_socket`'): FairleadError {
  return new FairleadError('bad_config', `cannot listen on ${path}: ${why}`, remedy);
}
