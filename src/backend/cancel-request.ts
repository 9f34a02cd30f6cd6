import type net from 'node:net';
import { type Encryption, openServerSocket, type ServerAddress } from '../transport/server-socket.ts';
import { cancelPacket } from '../wire/startup.ts';

/** A server that has not closed the connection in this time may still act on the request, and nobody can say when. */
const TIMEOUT_MS = 5000;

/** Which backend, and where. */
export type CancelTarget = {
  readonly address: ServerAddress;
  readonly encryption: Encryption;
  readonly pid: number;
  readonly secret: Buffer;
};

/**
 * Sends a CancelRequest on a connection of its own, encrypted like the one it is about: whoever could read the key in it could cancel as well.
 * `done` is called once, with `true` when the server has sent the signal or never will; `false`: it may yet.
 */
function sendCancel({ address, encryption, pid, secret }: CancelTarget, done: (through: boolean) => void): void {
  let opened: net.Socket | null = null;
  let finished = false;
  const finish = (through: boolean) => {
    if (finished) return;
    finished = true;
    clearTimeout(timer);
    giveUp();
    opened?.destroy();
    done(through);
  };
  const timer = setTimeout(() => finish(opened === null), TIMEOUT_MS);
  timer.unref();
  const giveUp = openServerSocket(address, encryption, (_error, socket) => {
    if (socket === null) return finish(true);
    opened = socket;
    // the server closes the connection when it has sent the signal
    socket.on('error', () => finish(false)).on('close', () => finish(true));
    socket.write(cancelPacket(pid, secret));
    socket.resume();
  });
}

/** The cancel requests for one server connection. */
export class Cancels {
  #pending = 0;
  #then: (() => void) | null = null;

  /** True while a request is under way: it may still hit whatever runs next. */
  get pending(): boolean {
    return this.#pending > 0;
  }

  /** @param connection spoilt when the request may still hit whatever runs on it, whenever that is */
  send(target: CancelTarget, connection: { tainted: boolean }): void {
    this.#pending++;
    sendCancel(target, (through) => {
      this.#pending--;
      if (!through) connection.tainted = true;
      if (this.#pending > 0) return;
      const then = this.#then;
      this.#then = null;
      then?.();
    });
  }

  /** Runs `then` at once, or when the last request is through. */
  after(then: () => void): void {
    if (this.#pending === 0) then();
    else this.#then = then;
  }

  /** The connection is gone: whoever waits goes on, and learns that. */
  end(): void {
    const then = this.#then;
    this.#then = null;
    then?.();
  }
}
