/** Accepts clients. */
import net from 'node:net';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import type { Address } from '../config/units.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { type Admitted, Handshake } from './handshake.ts';
import { LoginTemplates } from './login-templates.ts';
import { peerOf } from './peer.ts';
import type { Services } from './services.ts';
import { Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import { listenOnUnixSocket } from './unix-socket.ts';

export class Listener {
  readonly #services: Services;
  readonly #sessions: Sessions;
  readonly #console: (client: Admitted) => void;
  readonly #templates: LoginTemplates;
  readonly #servers: net.Server[] = [];
  readonly #sockets = new Set<net.Socket>();
  /** One for all sockets. */
  readonly #gone: (this: net.Socket) => void;

  /** One for all sessions. */
  readonly #ended = (session: Session): void => {
    const { socket, database } = session.client;
    this.#sessions.remove(session);
    const counts = this.#services.pools.counters.of(database);
    counts.receivedBytes += socket.bytesRead;
    counts.sentBytes += socket.bytesWritten;
  };

  constructor(services: Services, sessions: Sessions, console: (client: Admitted) => void) {
    this.#services = services;
    this.#sessions = sessions;
    this.#console = console;
    this.#templates = new LoginTemplates(services);
    const sockets = this.#sockets;
    this.#gone = function (this: net.Socket) {
      sockets.delete(this);
    };
  }

  /** Client connections, those that are still logging in included. */
  get clients(): number {
    return this.#sockets.size;
  }

  /**
   * Listens on one more address.
   * @param readOnly whoever comes in there is served as by a standby
   * @throws FairleadError port_taken, bad_config
   */
  start(address: Address, readOnly = false): Promise<Address> {
    const server = net.createServer({ noDelay: true, keepAlive: true, allowHalfOpen: false }, (socket) => {
      // of a client that is gone already the kernel knows no address: it must not pass for one of a Unix socket
      const { remoteAddress } = socket;
      if (remoteAddress === undefined) socket.destroy();
      else this.#accept(socket, remoteAddress, readOnly);
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
  async startUnixSocket({ directory, mode }: Config['unix_socket'], port: number, readOnly = false): Promise<void> {
    if (directory === null) return;
    const server = net.createServer({ allowHalfOpen: false }, (socket) => this.#accept(socket, null, readOnly));
    await listenOnUnixSocket(server, join(directory, `.s.PGSQL.${port}`), Number.parseInt(mode, 8));
    this.#servers.push(server);
  }

  /** Takes no new clients; those there are ended. */
  async stop(): Promise<void> {
    const closed = Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
    this.#sessions.terminateAll(new FairleadError('shutting_down', 'terminating connection: fairlead stops'));
    for (const socket of this.#sockets) socket.destroySoon();
    await closed;
  }

  #watch(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on('close', this.#gone);
  }

  /** @param address null: over a Unix socket */
  #accept(socket: net.Socket, address: string | null, readOnly: boolean): void {
    this.#watch(socket);
    new Handshake(socket, {
      services: this.#services,
      sessions: this.#sessions,
      templates: this.#templates,
      address,
      readOnly,
      clients: () => this.#sockets.size,
      encrypted: (before, now) => {
        this.#sockets.delete(before);
        this.#watch(now);
      },
      admit: (client) => this.#admit(client, readOnly),
      admitToConsole: this.#console,
    }).start();
  }

  #admit({ socket, identity, database, key, settings, options, superuser, rest }: Admitted, readOnly: boolean): void {
    this.#services.pools.counters.of(database).logins++;
    const session = new Session(
      {
        socket,
        identity,
        database,
        pid: key.pid,
        cancelSecret: key.secret.toString('latin1'),
        startupSettings: settings,
        address: peerOf(socket),
        readOnly,
        superuser,
      },
      this.#services,
      this.#ended,
    );
    for (const [name, value] of options) {
      if (name === 'token') session.causality.adopt(value, this.#services.cluster.assignment.value.forks);
      else session.options.set(name, value, false);
    }
    session.options.keepAsStartup();
    this.#sessions.add(session);
    session.start(rest);
  }
}
