import type { ServerConnection } from './server-connection.ts';

/** Who made the connection and gets it back. */
export type ServerConnectionHost = {
  readonly node: string;
  /** The connection ended, expected or not. Called once. */
  closed(connection: ServerConnection): void;
};
