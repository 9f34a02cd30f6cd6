/** One operator's connection to the admin database. Commands run one after the other; what comes meanwhile waits. */
import type { Config } from '../config/config.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Admitted } from '../frontend/handshake.ts';
import { peerOf } from '../frontend/peer.ts';
import type { Sessions } from '../frontend/sessions.ts';
import { endsOf } from '../plane/describe.ts';
import type { ClientReport } from '../plane/plane.ts';
import { FrameReader, type FrameSink } from '../wire/frame-reader.ts';
import { CLIENT, STATUS } from '../wire/message-type.ts';
import { commandComplete, EMPTY_QUERY, errorResponse, readyForQuery } from '../wire/writer.ts';
import type { Operator, Outcome } from './command.ts';
import { type Resolved, resolve } from './commands.ts';
import type { Consoles } from './consoles.ts';
import { ExtendedProtocol } from './extended-protocol.ts';
import { describeRows, encodeNotices, encodeRows } from './result.ts';
import type { RunCommand } from './run-command.ts';
import { readStatements } from './statement.ts';

/** No command is longer. */
const MAX_MESSAGE_BYTES = 64 * 1024;
/** What a client may send ahead while a command runs. */
const BACKLOG_BYTES = 256 * 1024;

const EXTENDED: ReadonlySet<number> = new Set([
  CLIENT.PARSE,
  CLIENT.BIND,
  CLIENT.DESCRIBE,
  CLIENT.EXECUTE,
  CLIENT.CLOSE,
]);

const READY = readyForQuery(STATUS.IDLE);

export type ConsoleHost = {
  readonly consoles: Consoles;
  readonly sessions: Pick<Sessions, 'addCancellable'>;
  readonly log: Log;
  config(): Config;
  readonly run: RunCommand;
};

export class ConsoleSession implements FrameSink {
  readonly client: Admitted;
  readonly startedMs = nowMs();
  /** When its latest command came, monotonic milliseconds. */
  lastRequestMs = this.startedMs;
  readonly #host: ConsoleHost;
  readonly #who: Omit<Operator, 'signal'>;
  #running = new AbortController();
  #forget: () => void = () => {};
  readonly #reader: FrameReader;
  readonly #extended: ExtendedProtocol;
  #closed = false;
  /** A command runs. */
  #busy = false;
  /** After an error in the extended protocol: everything up to Sync is skipped. */
  #skipToSync = false;

  constructor(client: Admitted, host: ConsoleHost) {
    this.client = client;
    this.#host = host;
    const { auth, cluster } = host.config();
    this.#who = {
      user: client.identity.user,
      address: peerOf(client.socket),
      asPgbouncer: client.database === 'pgbouncer',
      mayOperate: client.identity.user === cluster.user || auth.admins.includes(client.identity.user),
    };
    this.#reader = new FrameReader(this, MAX_MESSAGE_BYTES);
    this.#extended = new ExtendedProtocol((resolved) => this.#run(resolved));
  }

  report(): ClientReport {
    const { socket, key, identity, database } = this.client;
    return {
      operator: true,
      pid: key.pid,
      user: identity.user,
      database,
      state: this.#busy ? 'active' : 'idle',
      inTransaction: false,
      ends: endsOf(socket),
      startedMs: this.startedMs,
      lastRequestMs: this.lastRequestMs,
      linkedTo: null,
      applicationName: '',
      preparedStatements: 0,
      pinned: null,
      waitingFor: null,
      lastRoute: null,
      unsentBytes: socket.writableLength,
    };
  }

  start(): void {
    const { socket, rest } = this.client;
    this.#host.consoles.add(this);
    this.#forget = this.#host.sessions.addCancellable(this.client.key, this);
    socket.on('data', (chunk) => this.#received(chunk));
    socket.on('drain', () => this.#readOn());
    socket.on('error', () => this.close());
    socket.on('end', () => this.close());
    socket.on('close', () => this.close());
    if (rest !== null) this.#received(rest);
  }

  /** Ends the connection; a command that runs goes on, for half a switchover helps nobody. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#running.abort();
    this.#forget();
    this.#host.consoles.remove(this);
    this.#reader.end();
    this.client.socket.destroySoon();
  }

  /** A CancelRequest with this connection's key. */
  cancel(): void {
    this.#running.abort();
  }

  message(type: number, buffer: Buffer, start: number, end: number): boolean {
    if (type === CLIENT.TERMINATE) this.close();
    else if (this.#skipToSync && type !== CLIENT.SYNC) return true;
    else if (type === CLIENT.QUERY) {
      if (buffer[end - 1] !== 0) this.violation('query without its terminator');
      else {
        const text = buffer.toString('utf8', start + 5, end - 1);
        this.#answer(() => this.#query(text));
      }
    } else if (type === CLIENT.SYNC) {
      this.#skipToSync = false;
      this.#extended.sync();
      this.#write(READY);
    } else if (EXTENDED.has(type)) {
      // the bytes are not ours beyond this call
      const bytes = Buffer.from(buffer.subarray(start, end));
      this.#answer(() => this.#extendedMessage(type, bytes));
    } else if (type !== CLIENT.FLUSH) this.violation(`type ${type}`);
    return this.#wantsMore();
  }

  piece(): boolean {
    this.violation(`a message of more than ${MAX_MESSAGE_BYTES} bytes`);
    return false;
  }

  violation(reason: string): void {
    if (this.#closed) return;
    this.#writeError('FATAL', new FairleadError('protocol_violation', `invalid frontend message: ${reason}`));
    this.close();
  }

  #received(chunk: Buffer): void {
    if (this.#closed) return;
    this.#reader.feed(chunk);
    if (this.#reader.backlogBytes > BACKLOG_BYTES) this.client.socket.pause();
  }

  #wantsMore(): boolean {
    return !this.#closed && !this.#busy && !this.client.socket.writableNeedDrain;
  }

  #readOn(): void {
    if (!this.#wantsMore()) return;
    this.#reader.resume();
    if (!this.#closed && this.#reader.backlogBytes <= BACKLOG_BYTES) this.client.socket.resume();
  }

  /** Nothing further is read until `work`, which does not reject, is done. */
  #answer(work: () => Promise<void>): void {
    this.#busy = true;
    this.lastRequestMs = nowMs();
    void work().finally(() => {
      this.#busy = false;
      this.#readOn();
    });
  }

  /** Several statements run in turn; an error ends them. */
  async #query(text: string): Promise<void> {
    try {
      const statements = readStatements(text);
      if (statements.length === 0) this.#write(EMPTY_QUERY);
      for (const statement of statements) {
        const resolved = resolve(statement);
        const { columns } = resolved.command;
        const outcome = await this.#run(resolved);
        this.#write(encodeNotices(outcome));
        if (columns !== null) this.#write(Buffer.concat([describeRows(columns), encodeRows(columns, outcome.rows)]));
        this.#write(commandComplete(outcome.tag));
      }
    } catch (error) {
      this.#writeError('ERROR', error);
    }
    this.#write(READY);
  }

  async #extendedMessage(type: number, message: Buffer): Promise<void> {
    try {
      this.#write(await this.#extended.handle(type, message));
    } catch (error) {
      this.#skipToSync = true;
      this.#writeError('ERROR', error);
    }
  }

  #run(resolved: Resolved): Promise<Outcome> {
    this.#running = new AbortController();
    return this.#host.run(resolved, { ...this.#who, signal: this.#running.signal });
  }

  #writeError(severity: 'ERROR' | 'FATAL', error: unknown): void {
    if (error instanceof FairleadError) {
      return this.#write(errorResponse(severity, error.sqlState, error.message, error.remedy));
    }
    this.#host.log.error({ error: messageOf(error) }, 'a command of the console failed');
    this.#write(errorResponse(severity, 'XX000', messageOf(error)));
  }

  #write(bytes: Buffer): void {
    if (!this.#closed && bytes.length > 0) this.client.socket.write(bytes);
  }
}
