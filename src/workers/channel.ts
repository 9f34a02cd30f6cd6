/** Questions and answers between two processes, over Node's own channel; what is said first is heard first. */
import type { Socket } from 'node:net';
import { type ErrorCode, FairleadError, messageOf } from '../core/errors.ts';

/** A process at the other end, or the parent of this one. */
export type Port = {
  send(message: unknown, handle: Socket | undefined, options: object, done: (error: Error | null) => void): unknown;
  on(event: 'message', listener: (message: unknown, handle: unknown) => void): unknown;
};

type Reason = { readonly code: ErrorCode | null; readonly message: string; readonly remedy: string };

type Envelope<M> =
  | { readonly kind: 'tell'; readonly message: M }
  | { readonly kind: 'ask'; readonly id: number; readonly message: M }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly reason: Reason };

type Asked = { resolve(value: unknown): void; reject(error: unknown): void };

/** `Said` is what this side says, `Heard` what the other one does. */
export class Channel<Said, Heard> {
  readonly #port: Port;
  readonly #asked = new Map<number, Asked>();
  readonly #answer: (message: Heard, handle: Socket | null) => unknown;
  readonly #failed: (error: unknown, message: Heard) => void;
  #lastId = 0;
  #closed = false;

  /**
   * @param answer what it returns, or what that resolves to, is the answer where one was asked for
   * @param failed what it threw where none was
   */
  constructor(
    port: Port,
    answer: (message: Heard, handle: Socket | null) => unknown,
    failed: (error: unknown, message: Heard) => void,
  ) {
    this.#port = port;
    this.#answer = answer;
    this.#failed = failed;
    port.on('message', (envelope, handle) =>
      this.#hear(envelope as Envelope<Heard>, (handle as Socket | undefined) ?? null),
    );
  }

  tell(message: Said): void {
    this.#send({ kind: 'tell', message });
  }

  /**
   * @param handle a socket that goes along, as a copy: this side closes its own when the answer is there
   * @throws what the other side threw, or connection_lost when it is gone
   */
  ask<T>(message: Said, handle?: Socket): Promise<T> {
    if (this.#closed) return Promise.reject(gone());
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#send({ kind: 'ask', id, message }, handle);
    });
  }

  /** The other side is gone: nobody will answer. */
  close(): void {
    this.#closed = true;
    for (const { reject } of this.#asked.values()) reject(gone());
    this.#asked.clear();
  }

  #hear(envelope: Envelope<Heard>, handle: Socket | null): void {
    if (envelope.kind === 'tell') {
      try {
        this.#answer(envelope.message, handle);
      } catch (error) {
        this.#failed(error, envelope.message);
      }
      return;
    }
    const { id } = envelope;
    if (envelope.kind === 'ask') {
      new Promise((resolve) => resolve(this.#answer(envelope.message, handle))).then(
        (value) => this.#send({ kind: 'answer', id, value }),
        (error) => this.#send({ kind: 'refusal', id, reason: reasonOf(error) }),
      );
      return;
    }
    const asked = this.#asked.get(id);
    if (!this.#asked.delete(id)) return;
    if (envelope.kind === 'answer') asked?.resolve(envelope.value);
    else asked?.reject(errorOf(envelope.reason));
  }

  #send(envelope: Envelope<Said>, handle?: Socket): void {
    if (this.#closed) return;
    // that it could not be sent shows in the end of the other process. A handle that Node should close it keeps for ever when that comes first
    this.#port.send(envelope, handle, { keepOpen: true }, () => {});
  }
}

function gone(): FairleadError {
  return new FairleadError('connection_lost', 'a process of Fairlead has ended');
}

function reasonOf(error: unknown): Reason {
  if (!(error instanceof FairleadError)) return { code: null, message: messageOf(error), remedy: '' };
  return { code: error.code, message: error.message, remedy: error.remedy };
}

function errorOf({ code, message, remedy }: Reason): Error {
  return code === null ? new Error(message) : new FairleadError(code, message, remedy);
}
