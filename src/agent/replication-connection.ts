import type net from 'node:net';
import { LoginRefused, type LoginTarget, logIn } from '../backend/server-login.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { readDataRow, readErrorFields } from '../wire/fields.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { SERVER } from '../wire/message-type.ts';
import { cstrings, message, TERMINATE } from '../wire/writer.ts';

/** A message of the server; `body` is what follows its length. */
export type ServerMessage = { readonly type: number; readonly body: Buffer };

/** The server said no. */
export class ServerRefused extends FairleadError {
  readonly serverState: string;

  constructor(sqlState: string, text: string, detail: string) {
    super('refused', `the source says: ${withDetail(text, detail)}`, 'see the reason');
    this.serverState = sqlState;
  }
}

/** From PostgreSQL 16 on the reason of a refusal stands there only: "Only roles with the REPLICATION attribute may …". */
const withDetail = (text: string, detail: string) => (detail === '' ? text : `${text}: ${detail}`);

const QUERY = 0x51;
/** CopyData of a base backup holds 32 kB; rows and errors less. */
const LONGEST_BYTES = 1 << 22;
/** Received and not taken yet: beyond it the server waits. */
const BACKLOG_BYTES = 4 << 20;
/** A server may take as long as its checkpoint before it says anything. */
const SILENT_MS = 15 * 60_000;
const ASIDE: ReadonlySet<number> = new Set([SERVER.NOTICE, SERVER.PARAMETER_STATUS, SERVER.NOTIFICATION]);

/** A connection of the replication protocol whose messages are taken one by one, at the pace of whoever takes them. */
export class ReplicationConnection {
  /** `server_version_num` without the minor, for instance 15. */
  readonly major: number;
  readonly #socket: net.Socket;
  readonly #reader: FrameReader;
  readonly #queue: ServerMessage[] = [];
  #queuedBytes = 0;
  #error: FairleadError | null = null;
  #wake: (() => void) | null = null;

  private constructor(socket: net.Socket, version: string) {
    this.major = Number.parseInt(version, 10);
    this.#socket = socket;
    this.#reader = new FrameReader(
      {
        message: (type, buffer, start, end) => this.#received(type, buffer, start, end),
        piece: () => false,
        violation: (reason) => this.#fail(`not PostgreSQL: ${reason}`),
      },
      LONGEST_BYTES,
    );
    socket.on('data', (chunk: Buffer) => this.#reader.feed(chunk));
    socket.on('error', (error) => this.#fail(messageOf(error)));
    socket.on('close', () => this.#fail('it closed the connection'));
    socket.setKeepAlive(true, 10_000);
    socket.setTimeout(SILENT_MS, () => this.#fail(`it has said nothing for ${SILENT_MS / 60_000} min`));
  }

  /** @throws FairleadError server_unreachable, server_login_failed */
  static async open(target: LoginTarget): Promise<ReplicationConnection> {
    try {
      const { socket, parameters } = await logIn(target);
      return new ReplicationConnection(socket, parameters.get('server_version') ?? '');
    } catch (error) {
      if (!(error instanceof LoginRefused)) throw error;
      throw new FairleadError('server_login_failed', withDetail(error.message, error.detail), error.remedy, error);
    }
  }

  send(command: string): void {
    this.#socket.write(message(QUERY, cstrings(command)));
  }

  /** The next message that is no notice. @throws ServerRefused for an error, FairleadError connection_lost */
  async next(): Promise<ServerMessage> {
    for (;;) {
      const found = this.#queue.shift();
      if (found !== undefined) {
        this.#queuedBytes -= found.body.length;
        if (this.#queuedBytes < BACKLOG_BYTES && this.#socket.isPaused()) this.#socket.resume();
        if (found.type !== SERVER.ERROR) return found;
        const { sqlState, message: text, detail } = readErrorFields(found.body, -5, found.body.length);
        throw new ServerRefused(sqlState, text, detail);
      }
      if (this.#error !== null) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Runs a command that answers with rows. @throws as `next`; after an error of the server the connection can go on. */
  async rows(command: string): Promise<(string | null)[][]> {
    this.send(command);
    const rows: (string | null)[][] = [];
    let refused: unknown = null;
    for (;;) {
      try {
        const { type, body } = await this.next();
        if (type === SERVER.DATA_ROW) rows.push(readDataRow(body, -5));
        if (type === SERVER.READY) break;
      } catch (error) {
        if (!(error instanceof ServerRefused)) throw error;
        refused = error;
      }
    }
    if (refused !== null) throw refused;
    return rows;
  }

  close(): void {
    this.#error ??= new FairleadError('connection_lost', 'the connection to the source was closed');
    this.#reader.end();
    this.#socket.removeAllListeners('data');
    this.#socket.end(TERMINATE);
    this.#socket.destroySoon();
    this.#wake?.();
  }

  #received(type: number, buffer: Buffer, start: number, end: number): boolean {
    if (ASIDE.has(type)) return true;
    // a copy: the socket reads into the same memory again
    this.#queue.push({ type, body: Buffer.from(buffer.subarray(start + 5, end)) });
    this.#queuedBytes += end - start - 5;
    if (this.#queuedBytes >= BACKLOG_BYTES) this.#socket.pause();
    this.#wake?.();
    return true;
  }

  #fail(why: string): void {
    if (this.#error !== null) return;
    this.#error = new FairleadError('connection_lost', `the connection to the source is lost: ${why}`);
    this.#socket.destroy();
    this.#wake?.();
  }
}
