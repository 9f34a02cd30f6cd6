import net from 'node:net';
import { readErrorFields } from '../../src/wire/fields.ts';
import { FrameReader } from '../../src/wire/frame-reader.ts';
import { MECHANISM, ScramClient } from '../../src/wire/scram.ts';
import { startupPacket } from '../../src/wire/startup.ts';
import { cstrings, message } from '../../src/wire/writer.ts';
import type { Target } from './job.ts';

const AUTHENTICATION = 0x52;
const READY = 0x5a;
const ERROR = 0x45;
const COPY_IN = 0x47;
const PASSWORD_MESSAGE = 0x70;

/** No message that is asked for here is longer. */
const LIMIT_BYTES = 1 << 20;

/** One for all connections: what is in it is used up before the next read. */
const READ_BUFFER = Buffer.allocUnsafe(256 * 1024);

/** What happens to a connection; each but `failed` any number of times. */
export type LoadListener = {
  /** Logged in, or a statement is done. */
  ready(): void;
  /** COPY data may be sent. */
  copyIn?(): void;
  /** It is over. */
  failed(reason: string): void;
};

/** A client with as little of its own as there can be: thousands fit into a process. */
export class LoadConnection {
  readonly socket: net.Socket;
  readonly #target: Target;
  readonly #listener: LoadListener;
  readonly #reader: FrameReader;
  #scram: ScramClient | null = null;

  constructor(target: Target, listener: LoadListener) {
    this.#target = target;
    this.#listener = listener;
    this.#reader = new FrameReader(
      {
        message: (type, buffer, start, end) => this.#message(type, buffer, start, end),
        piece: () => true,
        violation: (reason) => listener.failed(reason),
      },
      LIMIT_BYTES,
    );
    const { host, port } = target;
    const onread = {
      buffer: READ_BUFFER,
      callback: (bytes: number) => {
        this.#reader.feed(READ_BUFFER.subarray(0, bytes));
        return true;
      },
    };
    this.socket = net.connect({ host, port, noDelay: true, onread });
    this.socket.on('connect', () => {
      const { user, database } = target;
      this.socket.write(startupPacket(Object.entries({ user, database })));
    });
    this.socket.on('error', (error) => listener.failed(error.message));
    this.socket.on('close', () => listener.failed('the connection was closed'));
  }

  query(text: string): void {
    this.socket.write(message(0x51, cstrings(text)));
  }

  #message(type: number, buffer: Buffer, start: number, end: number): boolean {
    if (type === READY) this.#listener.ready();
    else if (type === AUTHENTICATION) this.#authenticate(buffer, start, end);
    else if (type === COPY_IN) this.#listener.copyIn?.();
    else if (type === ERROR) this.#listener.failed(readErrorFields(buffer, start, end).message);
    return true;
  }

  #authenticate(buffer: Buffer, start: number, end: number): void {
    const kind = buffer.readInt32BE(start + 5);
    if (kind === 10) {
      this.#scram = new ScramClient({ kind: 'password', password: this.#target.password });
      const first = Buffer.from(this.#scram.first());
      const size = Buffer.alloc(4);
      size.writeInt32BE(first.length);
      this.socket.write(message(PASSWORD_MESSAGE, Buffer.concat([cstrings(MECHANISM), size, first])));
    } else if (kind === 11 && this.#scram !== null) {
      // salt and password are the same for all: their key is derived once
      const final = this.#scram.final(buffer.toString('utf8', start + 9, end));
      this.socket.write(message(PASSWORD_MESSAGE, Buffer.from(final)));
    } else if (kind === 12) {
      this.#scram = null;
    } else if (kind !== 0) {
      this.#listener.failed(`authentication method ${kind}`);
    }
  }
}
