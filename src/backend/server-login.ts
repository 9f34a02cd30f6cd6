import type net from 'node:net';
import { FairleadError, messageOf } from '../core/errors.ts';
import {
  type Encryption,
  encryptionsFor,
  isTlsFault,
  letIn,
  openServerSocket,
  refusedByEncryption,
  type ServerAddress,
  tlsFault,
} from '../transport/server-socket.ts';
import { readErrorFields, readParameterStatus } from '../wire/fields.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { SERVER } from '../wire/message-type.ts';
import type { ServerSecret } from '../wire/secret.ts';
import { startupPacket } from '../wire/startup.ts';
import { ServerAuthentication } from './server-authentication.ts';

/** How to log in to a server. */
export type LoginTarget = ServerAddress & {
  readonly node: string;
  readonly database: string;
  readonly user: string;
  readonly secret: ServerSecret | null;
  readonly parameters: readonly (readonly [string, string])[];
  readonly timeoutMs: number;
};

/** A connection that the server is ready to use. */
export type LoggedIn = {
  readonly socket: net.Socket;
  readonly address: ServerAddress;
  readonly encryption: Encryption;
  readonly parameters: Map<string, string>;
  readonly pid: number;
  readonly secret: Buffer;
};

/** The server answered a login with an error of its own: the client should see exactly that. */
export class LoginRefused extends FairleadError {
  readonly serverState: string;
  override readonly sqlState: string;
  readonly detail: string;

  constructor(node: string, sqlState: string, text: string, detail = '') {
    super('server_login_failed', text, `said by node ${node}`);
    this.serverState = sqlState;
    this.sqlState = sqlState;
    this.detail = detail;
  }

  /** True when the same login may succeed a little later: starting up, shutting down, no slot free. */
  get transient(): boolean {
    return this.serverState === '57P03' || this.serverState === '53300' || this.serverState.startsWith('57P0');
  }
}

/**
 * Connects and authenticates. Where `cluster.tls.mode` leaves a choice and pg_hba.conf has no line for the first one, the other is tried.
 * @throws LoginRefused with the server's own words; FairleadError `server_unreachable` for everything below that.
 */
export async function logIn(target: LoginTarget): Promise<LoggedIn> {
  const [first, second] = encryptionsFor(target);
  try {
    return await attempt(target, first as Encryption);
  } catch (error) {
    if (second === undefined || !refusedByEncryption(error)) throw error;
    try {
      const loggedIn = await attempt(target, second);
      letIn(target, second);
      return loggedIn;
    } catch (other) {
      // what a server says tells more than how a handshake fails, and what it says over TLS more than the rest
      throw other instanceof LoginRefused && !(error instanceof LoginRefused && first === 'tls') ? other : error;
    }
  }
}

function attempt(target: LoginTarget, encryption: Encryption): Promise<LoggedIn> {
  return new Promise((resolve, reject) => {
    let opened: net.Socket | null = null;
    let ended = false;
    const parameters = new Map<string, string>();
    let authentication: ServerAuthentication;
    let pid = 0;
    let secret: Buffer = Buffer.alloc(4);

    const leave = () => {
      ended = true;
      clearTimeout(timer);
      opened?.off('data', onData).off('error', onError).off('close', onClose);
    };
    const fail = (error: FairleadError) => {
      if (ended) return;
      leave();
      giveUp();
      opened?.on('error', () => {});
      opened?.destroy();
      reader.end();
      reject(error);
    };
    const unreachable = (why: string) =>
      fail(new FairleadError('server_unreachable', `node ${target.node} (${target.host}:${target.port}): ${why}`));
    const broken = (error: Error) => {
      if (error instanceof FairleadError) fail(error);
      else if (isTlsFault(error)) fail(tlsFault(target, error));
      else unreachable(messageOf(error));
    };
    const timer = setTimeout(() => unreachable(`no login within ${target.timeoutMs} ms`), target.timeoutMs);

    const look = (type: number, buffer: Buffer, start: number, end: number): boolean => {
      switch (type) {
        case SERVER.AUTHENTICATION: {
          const answer = authentication.answer(buffer, start, end);
          if (answer !== null) opened?.write(answer);
          return true;
        }
        case SERVER.PARAMETER_STATUS:
          parameters.set(...readParameterStatus(buffer, start, end));
          return true;
        case SERVER.BACKEND_KEY_DATA:
          pid = buffer.readInt32BE(start + 5);
          secret = Buffer.from(buffer.subarray(start + 9, end));
          return true;
        case SERVER.ERROR: {
          const { sqlState, message, detail } = readErrorFields(buffer, start, end);
          fail(new LoginRefused(target.node, sqlState, message, detail));
          return false;
        }
        case SERVER.READY:
          leave();
          resolve({ socket: opened as net.Socket, address: target, encryption, parameters, pid, secret });
          return false;
        default:
          return true;
      }
    };
    const reader = new FrameReader(
      {
        message(type, buffer, start, end) {
          try {
            return look(type, buffer, start, end);
          } catch (error) {
            const text = `node ${target.node}, user ${target.user}: ${messageOf(error)}`;
            fail(error instanceof FairleadError ? error : new FairleadError('server_login_failed', text));
            return false;
          }
        },
        piece() {
          unreachable('a message too long for a login');
          return false;
        },
        violation: (reason) => unreachable(`not PostgreSQL: ${reason}`),
      },
      1 << 16,
    );
    const onData = (chunk: Buffer) => reader.feed(chunk);
    const onError = (error: Error) => broken(error);
    const onClose = () => unreachable('connection closed during the login');
    const giveUp = openServerSocket(target, encryption, (error, socket) => {
      if (socket === null) return broken(error as Error);
      opened = socket;
      authentication = new ServerAuthentication(target, socket);
      socket.on('data', onData).on('error', onError).on('close', onClose);
      socket.write(startupPacket([['user', target.user], ['database', target.database], ...target.parameters]));
    });
  });
}
