/** What a part needs of a logger; `app.ts` hands out pino children. Prose is lowercase, facts are fields. */
export type Log = {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LEVELS)[number];
/** The least level that is written. */
export type LogThreshold = LogLevel | 'silent';

/** A log whose lines go to `write`, those below `least` to nobody. */
export function logFrom(least: LogThreshold, write: (level: LogLevel, fields: object, message: string) => void): Log {
  const from = least === 'silent' ? LEVELS.length : LEVELS.indexOf(least);
  const at = (level: LogLevel) =>
    LEVELS.indexOf(level) < from ? () => {} : (fields: object, message: string) => write(level, fields, message);
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** For tests and tools that want silence. */
export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };
