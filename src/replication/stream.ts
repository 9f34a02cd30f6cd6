import { randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { ControlTarget } from '../backend/control-connection.ts';
import { messageOf } from '../core/errors.ts';
import { type Encryption, encryptionsFor } from '../transport/server-socket.ts';
import type { StreamMessage } from './commit-batch.ts';
import type { StreamOrder } from './worker.ts';

/** One attempt to follow one primary: a worker thread and what it says. */
export class Stream {
  readonly slot: string;
  readonly #worker: Worker;
  #ended = false;

  /**
   * @param rowBytes so much is kept of the rows of one transaction
   * @param hear called with every message; after 'failed' with none
   */
  constructor(target: ControlTarget, rowBytes: number, hear: (message: StreamMessage) => void) {
    // a name of its own for each attempt: the slot of a connection that hangs outlives the attempt
    this.slot = `fairlead_${randomBytes(6).toString('hex')}`;
    const encryption = encryptionsFor(target)[0] as Encryption;
    const workerData: StreamOrder = { target, encryption, slot: this.slot, rowBytes };
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData });
    const tell = (message: StreamMessage) => {
      if (this.#ended) return;
      if (message.kind === 'failed') this.#ended = true;
      hear(message);
    };
    this.#worker.on('message', tell);
    this.#worker.on('error', (error) => tell({ kind: 'failed', sqlState: null, message: messageOf(error) }));
    this.#worker.on('exit', () => tell({ kind: 'failed', sqlState: null, message: 'the stream worker ended' }));
  }

  /** Asks the server for a sign of life: told as 'heard'. */
  ping(): void {
    this.#worker.postMessage('ping');
  }

  /** Ends the worker and with it the connection and the temporary slot; nothing is told any more. */
  async stop(): Promise<void> {
    this.#ended = true;
    await this.#worker.terminate();
  }
}
