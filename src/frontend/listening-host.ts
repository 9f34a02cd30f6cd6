import type { ListeningConnection } from '../backend/listening-connection.ts';
import type { FairleadError } from '../core/errors.ts';
import type { ClientConnection } from './client-connection.ts';
import type { Execution } from './execution.ts';
import type { Services } from './services.ts';
import type { Client } from './session.ts';
import type { SessionListeningHost } from './session-listening.ts';

type Ending = { terminate(error: FairleadError): void };

/** A session as far as listening goes: what it is in the middle of, and the way to its client. */
export class ListeningHost implements SessionListeningHost {
  readonly #client: Client;
  readonly #services: Services;
  readonly #connection: ClientConnection;
  readonly #execution: Execution;
  readonly #session: Ending;

  constructor(client: Client, services: Services, connection: ClientConnection, execution: Execution, session: Ending) {
    this.#client = client;
    this.#services = services;
    this.#connection = connection;
    this.#execution = execution;
    this.#session = session;
  }

  get clientPid(): number {
    return this.#client.pid;
  }

  get quiet(): boolean {
    const { state, transaction, underWay } = this.#execution;
    return state === 'idle' && transaction === 'none' && !underWay.insideMessage;
  }

  get unsentBytes(): number {
    return this.#connection.unsentBytes;
  }

  /** Payloads come as UTF-8: whoever wants another encoding gets them from a server that knows about it. */
  get listensItself(): boolean {
    const { memory, settings } = this.#execution;
    const encoding = memory.settings.values.get('client_encoding');
    const inUtf8 = encoding === undefined || /^['"]?(utf-?8|unicode)['"]?$/i.test(encoding);
    return !inUtf8 || this.#client.readOnly || settings.now.mode === 'session';
  }

  get connectionListens(): boolean {
    return this.#execution.memory.keeps('listen');
  }

  ownChannels(then: (channels: readonly string[]) => void): void {
    const { link, memory } = this.#execution;
    if (link === null || !memory.keeps('listen')) return then([]);
    link.ask('SELECT pg_catalog.pg_listening_channels()', (rows) => then(rows.map(([channel]) => channel ?? '')));
  }

  listeningConnection(): ListeningConnection {
    return this.#services.notifications.of(this.#client.database, this.#client.identity);
  }

  terminate(error: FairleadError): void {
    this.#session.terminate(error);
  }

  tell(bytes: Buffer): void {
    this.#connection.output.write(bytes);
  }
}
