/**
 * Runs in a worker thread, so that a bulk load of a million rows delays no statement: reads the primary's logical stream over one
 * connection and tells the main thread of commits, in batches. One worker is one attempt: when the stream ends, so does it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type pg from 'pg';
import { LogicalReplicationService } from 'pg-logical-replication';
import { type ControlTarget, controlLogin } from '../backend/control-connection.ts';
import { messageOf } from '../core/errors.ts';
import { formatLsn, type Lsn, parseLsn } from '../core/lsn.ts';
import type { Encryption } from '../transport/server-socket.ts';
import { BatchBuilder, type StreamMessage, transferOf } from './commit-batch.ts';
import { CommitDecoder, type DecodedKind } from './commit-decoder.ts';
import { PLAIN_OUTPUT } from './plain-output.ts';

export type StreamOrder = {
  readonly target: ControlTarget;
  /** What the main thread has found to be let in. */
  readonly encryption: Encryption;
  readonly slot: string;
  /** So much is kept of the rows of one transaction. */
  readonly rowBytes: number;
};

/** Commits wait this long for company on their way to the main thread. */
const BATCH_MS = 2;

/** Confirmed this often, well inside any `wal_sender_timeout` in use (the shortest seen is 5 s). */
const CONFIRM_MS = 1000;

/** The main thread is told at most this often that something came. */
const SAY_MS = 250;

/** After this much silence the server is asked for a sign of life, after twice as much it counts as gone. */
const SILENCE_MS = 5000;

const { target, encryption, slot, rowBytes } = workerData as StreamOrder;
const port = parentPort;
if (port === null) throw new Error('worker.ts runs in a worker thread only');

const builder = new BatchBuilder();
let flushTimer: NodeJS.Timeout | undefined;
/** Everything before this was processed; what feedback confirms. */
let position = 0n as Lsn;
let confirmed = 0n as Lsn;
let told = 0n as Lsn;
let heardMs = performance.now();
/** When the main thread was last told that something came. */
let saidMs = 0;
let started = false;
let failed = false;

function tell(message: StreamMessage): void {
  port?.postMessage(message);
}

/** Something came from the server. Told now and then, not each time. */
function heard(): void {
  heardMs = performance.now();
  if (heardMs - saidMs < SAY_MS) return;
  saidMs = heardMs;
  tell({ kind: 'heard' });
}

function flush(): void {
  flushTimer = undefined;
  if (builder.length > 0) {
    const batch = builder.take(decoder.rows.take());
    port?.postMessage(batch, transferOf(batch));
  }
  if (position > told) {
    told = position;
    tell({ kind: 'position', lsn: position });
  }
}

function flushSoon(): void {
  flushTimer ??= setTimeout(flush, BATCH_MS);
}

function fail(error: unknown): void {
  if (failed) return;
  failed = true;
  clearTimeout(flushTimer);
  flush();
  const code = (error as { code?: string }).code ?? null;
  tell({
    kind: 'failed',
    sqlState: code !== null && /^[0-9A-Z]{5}$/.test(code) ? code : null,
    message: messageOf(error),
  });
  // the connection may hang: nothing polite is waited for
  setImmediate(() => process.exit(0));
}

const service = new LogicalReplicationService(
  {
    ...controlLogin(target, 'fairlead-stream', encryption),
    connectionTimeoutMillis: 5000,
    // commit times are printed in the session's zone; rows as they can be read again anywhere
    options: `-c statement_timeout=0 ${PLAIN_OUTPUT}`,
  } as pg.ClientConfig & { replication: 'database' },
  // its timer would confirm what was received but not processed
  { acknowledge: { auto: false, timeoutSeconds: 0 } },
);

/** `acknowledge` adds one to what it is given, a convention of physical replication; a logical slot takes the position itself. */
function confirm(ping: boolean): void {
  confirmed = position;
  void service.acknowledge(formatLsn((position - 1n) as Lsn), ping);
}

const decoder = new CommitDecoder({
  slot,
  rowBytes,
  started(consistentLsn, encoding) {
    started = true;
    position = parseLsn(consistentLsn);
    heardMs = performance.now();
    tell({ kind: 'started', slot, consistentLsn, encoding });
  },
});

service.on('data', (lsnText: string, kind: DecodedKind) => {
  heard();
  if (kind !== 'commit') return;
  // the header of a commit carries the end of its record, of anything else where that stands: those do not rise
  const endLsn = parseLsn(lsnText);
  builder.add(endLsn, decoder);
  if (endLsn > position) position = endLsn;
  flushSoon();
});

service.on('heartbeat', (lsnText: string, _timestamp: number, shouldRespond: boolean) => {
  heard();
  const sentLsn = parseLsn(lsnText);
  // what the server sent before this was processed when it was read; a server that shuts down waits until this is confirmed
  if (sentLsn > position) position = sentLsn;
  if (shouldRespond) confirm(false);
  flushSoon();
});

service.on('error', fail);

port.on('message', () => {
  if (started && !failed) confirm(true);
});

const watch = setInterval(() => {
  if (!started) return;
  const silentMs = performance.now() - heardMs;
  if (silentMs > 2 * SILENCE_MS) fail(new Error(`the stream is silent for ${Math.round(silentMs)} ms`));
  else if (silentMs > SILENCE_MS) confirm(true);
  else if (position > confirmed) confirm(false);
}, CONFIRM_MS);

service
  .subscribe(decoder, slot)
  .then(() => fail(new Error('the server ended the stream')), fail)
  .finally(() => clearInterval(watch));
