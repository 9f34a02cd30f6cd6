import { message } from '../../src/wire/writer.ts';
import type { Job, RelayResult } from './job.ts';
import { LoadConnection } from './load-connection.ts';

type Receive = Extract<Job, { kind: 'receive' }>;
type Send = Extract<Job, { kind: 'send' }>;

const COPY_DONE = message(0x63, Buffer.alloc(0));

/** Eight lines in a message of about 8 kB, as psql sends them, and 32 messages in a write. */
const COPY_DATA = message(0x64, Buffer.from(`${'x'.repeat(1000)}\n`.repeat(8)));
const CHUNK = Buffer.concat(Array.from({ length: 32 }, () => COPY_DATA));

/** All rows of a result, none of them kept. */
export function receive({ target, statement }: Receive): Promise<RelayResult> {
  return new Promise((resolve, reject) => {
    let startMs = 0;
    let before = 0;
    const connection = new LoadConnection(target, {
      ready: () => {
        const { bytesRead } = connection.socket;
        if (startMs > 0) return resolve({ bytes: bytesRead - before, ms: performance.now() - startMs });
        before = bytesRead;
        startMs = performance.now();
        connection.query(statement);
      },
      failed: (reason) => reject(new Error(reason)),
    });
  });
}

/** A COPY FROM STDIN as quickly as it is taken. */
export function send({ target, statement, bytes }: Send): Promise<RelayResult> {
  return new Promise((resolve, reject) => {
    let startMs = 0;
    let sent = 0;
    const pump = () => {
      while (sent < bytes) {
        sent += CHUNK.length;
        if (!connection.socket.write(CHUNK)) return;
      }
      connection.socket.off('drain', pump);
      connection.socket.write(COPY_DONE);
    };
    const connection = new LoadConnection(target, {
      ready: () => {
        if (startMs > 0) return resolve({ bytes: sent, ms: performance.now() - startMs });
        startMs = performance.now();
        connection.query(statement);
      },
      copyIn: () => {
        connection.socket.on('drain', pump);
        pump();
      },
      failed: (reason) => reject(new Error(reason)),
    });
  });
}
