/** The ports that clients come in by. */
import net from 'node:net';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import type { Address } from '../config/units.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { listenOnUnixSocket } from './unix-socket.ts';

/** @param address null: over a Unix socket */
export type Entered = (socket: net.Socket, address: string | null, readOnly: boolean) => void;

export class Doors {
  readonly #entered: Entered;
  readonly #paused: boolean;
  readonly #servers: net.Server[] = [];

  /** @param paused nothing is read of the sockets: another process will */
  constructor(entered: Entered, paused: boolean) {
    this.#entered = entered;
    this.#paused = paused;
  }

  /** @throws FairleadError port_taken, bad_config */
  open(address: Address, readOnly: boolean): Promise<Address> {
    const options = { noDelay: true, keepAlive: true, allowHalfOpen: false, pauseOnConnect: this.#paused };
    const server = net.createServer(options, (socket) => {
      // of a client that is gone already the kernel knows no address: it must not pass for one of a Unix socket
      const { remoteAddress } = socket;
      if (remoteAddress === undefined) socket.destroy();
      else this.#entered(socket, remoteAddress, readOnly);
    });
    this.#servers.push(server);
    const key = readOnly ? 'listen_read_only' : 'listen';
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const at = `${address.host}:${address.port}`;
        if (error.code === 'EADDRINUSE')
          reject(new FairleadError('port_taken', `cannot listen on ${at}: the port is taken`));
        else
          reject(new FairleadError('bad_config', `cannot listen on ${at}: ${messageOf(error)}`, `correct \`${key}\``));
      });
      server.listen({ host: address.host, port: address.port, backlog: 4096 }, () => {
        const bound = server.address() as net.AddressInfo;
        resolve({ host: bound.address, port: bound.port });
      });
    });
  }

  /** @param port of the TCP socket: the file is named after it. @throws FairleadError port_taken, bad_config */
  async openUnixSocket({ directory, mode }: Config['unix_socket'], port: number, readOnly: boolean): Promise<void> {
    if (directory === null) return;
    const options = { allowHalfOpen: false, pauseOnConnect: this.#paused };
    const server = net.createServer(options, (socket) => this.#entered(socket, null, readOnly));
    await listenOnUnixSocket(server, join(directory, `.s.PGSQL.${port}`), Number.parseInt(mode, 8));
    this.#servers.push(server);
  }

  /** Nobody comes in any more. Resolves when all that did are gone. */
  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** All that the configuration names. @throws FairleadError port_taken, bad_config */
export async function openAll(
  doors: Pick<Doors, 'open' | 'openUnixSocket'>,
  { listen, listen_read_only: readOnly, unix_socket: unix }: Config,
): Promise<{ readonly listen: Address; readonly listenReadOnly: Address | null }> {
  const write = await doors.open(listen, false);
  const read = readOnly === null ? null : await doors.open(readOnly, true);
  await doors.openUnixSocket(unix, write.port, false);
  if (read !== null) await doors.openUnixSocket(unix, read.port, true);
  return { listen: write, listenReadOnly: read };
}
