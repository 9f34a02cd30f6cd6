import type { Socket } from 'node:net';
import { Cancels } from '../backend/cancel-request.ts';
import type { LoggedIn } from '../backend/server-login.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { FairleadError } from '../core/errors.ts';
import { MessageBoundary } from '../wire/message-boundary.ts';
import { errorResponse } from '../wire/writer.ts';

/** One side does not take what is left to be sent to it for so long: it is cut. */
const LINGER_MS = 10_000;

/**
 * A client that speaks the replication protocol, with a connection to the primary of its own. Nothing of what it says is looked at. It
 * ends when the node is not the primary any more: what it would go on to read is not the cluster's history.
 */
export class ReplicationRelay {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #login: LoggedIn;
  readonly #ended: () => void;
  readonly #boundary = new MessageBoundary();
  readonly #cancels = new Cancels();
  #unsubscribe: () => void = () => {};
  #over = false;

  /** @param ended called once */
  constructor(client: Socket, login: LoggedIn, ended: () => void) {
    this.#client = client;
    this.#server = login.socket;
    this.#login = login;
    this.#ended = ended;
  }

  /** @param rest bytes that came behind the client's login */
  start(node: string, cluster: Cluster, rest: Buffer | null): void {
    this.#server.on('data', (chunk: Buffer) => this.#boundary.pass(chunk));
    this.#pass(this.#client, this.#server);
    this.#pass(this.#server, this.#client);
    if (rest !== null) this.#server.write(rest);
    this.#unsubscribe = cluster.topology.subscribe((topology) => {
      if (topology.primary?.name === node) return;
      this.terminate(new FairleadError('shutting_down', `terminating connection: ${node} is not the primary any more`));
    });
  }

  /** A CancelRequest with the client's key. */
  cancel(): void {
    this.#cancels.send(this.#login, { tainted: false });
  }

  terminate(error: FairleadError): void {
    if (this.#over) return;
    // inside a message nothing can be said
    if (this.#boundary.between) this.#client.write(errorResponse('FATAL', error.sqlState, error.message, error.remedy));
    this.#end();
  }

  #pass(from: Socket, to: Socket): void {
    from.on('data', (chunk: Buffer) => {
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => from.resume());
    for (const event of ['end', 'error', 'close']) from.on(event, () => this.#end());
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#unsubscribe();
    for (const socket of [this.#client, this.#server]) {
      socket.removeAllListeners('data');
      socket.resume();
      socket.end();
      socket.destroySoon();
      socket.setTimeout(LINGER_MS, () => socket.destroy());
    }
    this.#ended();
  }
}
