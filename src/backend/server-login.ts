import { createHash } from 'node:crypto';
import net from 'node:net';
import { FairleadError, messageOf } from '../core/errors.ts';
import { readErrorFields, readParameterStatus } from '../wire/fields.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { SERVER } from '../wire/message-type.ts';
import { MECHANISM, ScramClient, type ScramSecret } from '../wire/scram.ts';
import { startupPacket } from '../wire/startup.ts';
import { cstrings, message } from '../wire/writer.ts';

/** How to log in to a server. */
export type LoginTarget = {
  readonly node: string;
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly secret: ScramSecret | null;
  readonly parameters: readonly (readonly [string, string])[];
  readonly timeoutMs: number;
};

/** A connection that the server is ready to use. */
export type LoggedIn = {
  readonly socket: net.Socket;
  readonly parameters: Map<string, string>;
  readonly pid: number;
  readonly secret: Buffer;
};

/** The server answered a login with an error of its own: the client should see exactly that. */
export class LoginRefused extends FairleadError {
  readonly serverState: string;

  constructor(node: string, sqlState: string, text: string) {
    super('server_login_failed', text, `said by node ${node}`);
    this.serverState = sqlState;
  }

  /** True when the same login may succeed a little later: starting up, shutting down, no slot free. */
  get transient(): boolean {
    return this.serverState === '57P03' || this.serverState === '53300' || this.serverState.startsWith('57P0');
  }
}

/**
 * Connects and authenticates: trust, password, md5, SCRAM-SHA-256.
 * @throws LoginRefused with the server's own words; FairleadError `server_unreachable` for everything below that.
 */
export function logIn(target: LoginTarget): Promise<LoggedIn> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: target.host, port: target.port, noDelay: true, keepAlive: true });
    const parameters = new Map<string, string>();
    let pid = 0;
    let secret: Buffer = Buffer.alloc(4);
    let scram: ScramClient | null = null;
    let scramProved = false;

    const fail = (error: FairleadError) => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on('error', () => {});
      socket.destroy();
      reader.end();
      reject(error);
    };
    const unreachable = (why: string) =>
      fail(new FairleadError('server_unreachable', `node ${target.node} (${target.host}:${target.port}): ${why}`));
    const timer = setTimeout(() => unreachable(`no login within ${target.timeoutMs} ms`), target.timeoutMs);

    const password = (): string => {
      if (target.secret?.kind === 'password') return target.secret.password;
      throw new FairleadError(
        'server_login_failed',
        `node ${target.node} asks user ${target.user} for a password that is not known`,
        'give auth.users the password, or let the server use scram-sha-256',
      );
    };
    const authenticate = (buffer: Buffer, start: number, end: number) => {
      const kind = buffer.readInt32BE(start + 5);
      const data = buffer.subarray(start + 9, end);
      switch (kind) {
        case 0:
          if (scram !== null && !scramProved) throw new Error('the server did not prove that it knows the password');
          return;
        case 3:
          socket.write(message(0x70, cstrings(password())));
          return;
        case 5: {
          const md5 = (value: string | Buffer, salt: string | Buffer) =>
            createHash('md5').update(value).update(salt).digest('hex');
          socket.write(message(0x70, cstrings(`md5${md5(md5(password(), target.user), data)}`)));
          return;
        }
        case 10: {
          if (!data.toString('latin1').split('\0').includes(MECHANISM))
            throw new Error('the server offers no SCRAM-SHA-256');
          if (target.secret === null) password();
          scram = new ScramClient(target.secret as ScramSecret);
          const first = Buffer.from(scram.first());
          const size = Buffer.alloc(4);
          size.writeInt32BE(first.length);
          socket.write(message(0x70, Buffer.concat([cstrings(MECHANISM), size, first])));
          return;
        }
        case 11:
          if (scram === null) throw new Error('unexpected SCRAM message');
          socket.write(message(0x70, Buffer.from(scram.final(data.toString('utf8')))));
          return;
        case 12:
          scramProved = scram?.verify(data.toString('utf8')) ?? false;
          if (!scramProved) throw new Error('the server did not prove that it knows the password');
          return;
        default:
          throw new Error(`authentication method ${kind} is not supported`);
      }
    };

    const reader = new FrameReader(
      {
        message(type, buffer, start, end) {
          try {
            switch (type) {
              case SERVER.AUTHENTICATION:
                authenticate(buffer, start, end);
                break;
              case SERVER.PARAMETER_STATUS:
                parameters.set(...readParameterStatus(buffer, start, end));
                break;
              case SERVER.BACKEND_KEY_DATA:
                pid = buffer.readInt32BE(start + 5);
                secret = Buffer.from(buffer.subarray(start + 9, end));
                break;
              case SERVER.ERROR: {
                const { sqlState, message: text } = readErrorFields(buffer, start, end);
                fail(new LoginRefused(target.node, sqlState, text));
                return false;
              }
              case SERVER.READY:
                clearTimeout(timer);
                socket.removeAllListeners();
                resolve({ socket, parameters, pid, secret });
                return false;
            }
          } catch (error) {
            fail(
              error instanceof FairleadError
                ? error
                : new FairleadError(
                    'server_login_failed',
                    `node ${target.node}, user ${target.user}: ${messageOf(error)}`,
                  ),
            );
            return false;
          }
          return true;
        },
        piece() {
          unreachable('a message too long for a login');
          return false;
        },
        violation: (reason) => unreachable(`not PostgreSQL: ${reason}`),
      },
      1 << 16,
    );
    socket.on('data', (chunk) => reader.feed(chunk));
    socket.on('error', (error) => unreachable(messageOf(error)));
    socket.on('close', () => unreachable('connection closed during the login'));
    socket.write(startupPacket([['user', target.user], ['database', target.database], ...target.parameters]));
  });
}
