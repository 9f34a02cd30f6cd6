/** What a part needs of a logger; `app.ts` hands out pino children. Prose is lowercase, facts are fields. */
export type Log = {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

/** For tests and tools that want silence. */
export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };
