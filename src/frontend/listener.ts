/** Accepts clients. */
import type net from 'node:net';
import { FairleadError } from '../core/errors.ts';
import { Doors } from './doors.ts';
import { type Admitted, Handshake } from './handshake.ts';
import { LoginTemplates } from './login-templates.ts';
import { peerOf } from './peer.ts';
import type { Services } from './services.ts';
import { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** How a client came. */
export type Arrival = {
  /** Its address; null: over a Unix socket. */
  readonly address: string | null;
  /** By the read-only port. */
  readonly readOnly: boolean;
};

export class Listener {
  readonly #services: Services;
  readonly #sessions: Sessions;
  readonly #console: (client: Admitted) => void;
  readonly #templates: LoginTemplates;
  /** Where clients come in, unless another process hands them over. */
  readonly doors = new Doors((socket, address, readOnly) => this.accept(socket, { address, readOnly }), false);
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

  /** Takes no new clients; those there are ended. */
  async stop(): Promise<void> {
    const closed = this.doors.close();
    this.#sessions.terminateAll(new FairleadError('shutting_down', 'terminating connection: fairlead stops'));
    for (const socket of this.#sockets) socket.destroySoon();
    await closed;
  }

  #watch(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on('close', this.#gone);
  }

  /** @param clients client connections in all, this one included, where others than those of this process count */
  accept(socket: net.Socket, { address, readOnly }: Arrival, clients: number | null = null): void {
    this.#watch(socket);
    new Handshake(socket, {
      services: this.#services,
      sessions: this.#sessions,
      templates: this.#templates,
      address,
      readOnly,
      clients: () => clients ?? this.#sockets.size,
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
