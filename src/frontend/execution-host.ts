import type { FairleadError } from '../core/errors.ts';
import type { Link } from './link.ts';
import type { SessionListening } from './session-listening.ts';

export type ExecutionState = 'idle' | 'waiting' | 'active' | 'closed';

/** The session's client, as far as running its requests goes. */
export type ExecutionHost = {
  /** Bytes for the client. @returns false when it does not keep up. */
  relay(bytes: Buffer): boolean;
  /** The request was answered, ReadyForQuery included if it was wanted; `skip`: what comes up to the client's Sync is void. */
  rested(skip: boolean): void;
  /** The request ends with an error that is still to be told; `synced` false: the client's Sync is yet to come. */
  failed(error: FairleadError, synced: boolean): void;
  /** The transaction was lost while the client was silent: it is to be told with its next request. */
  lostSilently(error: FairleadError): void;
  readonly listening: SessionListening;
  /** What a server connection that the session keeps says by itself: notifications, changed settings. */
  async(link: Link, buffer: Buffer, start: number, end: number): void;
  /** Ends the answer to a request with ReadyForQuery, when what was notified before has been told; then calls `then`. */
  ready(then: () => void): void;
  /** The session cannot go on. */
  terminate(error: FairleadError): void;
  /** Nothing can be said to the client any more. */
  close(): void;
  pauseClient(): void;
  resumeClient(): void;
  stopReading(): void;
  readOn(): void;
  violation(reason: string): void;
};
