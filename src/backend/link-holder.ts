import type { FairleadError } from '../core/errors.ts';

/** Who holds the connection exclusively. */
export type LinkHolder = {
  /** Process id that the session's client was told; null where no client is behind it. */
  readonly clientPid: number | null;
  /** A notification, or something the server says outside of any exchange. */
  async(buffer: Buffer, start: number, end: number): void;
  /** The connection is gone; exchanges in flight were told before. */
  closed(error: FairleadError): void;
};
