import net from 'node:net';
import { cancelPacket } from '../wire/startup.ts';

/** A server that does not close the connection in this time will not act on the request any more. */
const TIMEOUT_MS = 5000;

/** Sends a CancelRequest on a connection of its own. `done` is called once: when the server has sent the signal, or cannot be reached. */
function sendCancel(
  address: { readonly host: string; readonly port: number },
  pid: number,
  secret: Buffer,
  done: () => void,
): void {
  const socket = net.connect(address);
  let finished = false;
  const finish = () => {
    if (finished) return;
    finished = true;
    clearTimeout(timer);
    socket.destroy();
    done();
  };
  const timer = setTimeout(finish, TIMEOUT_MS);
  timer.unref();
  socket.on('connect', () => socket.write(cancelPacket(pid, secret)));
  // the server closes the connection when it has sent the signal
  socket.on('error', finish);
  socket.on('close', finish);
  socket.resume();
}

/** The cancel requests for one server connection. */
export class Cancels {
  #pending = 0;
  #then: (() => void) | null = null;

  /** True while a request is under way: it may still hit whatever runs next. */
  get pending(): boolean {
    return this.#pending > 0;
  }

  send(address: { readonly host: string; readonly port: number }, pid: number, secret: Buffer): void {
    this.#pending++;
    sendCancel(address, pid, secret, () => {
      this.#pending--;
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
