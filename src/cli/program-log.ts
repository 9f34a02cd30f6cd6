import { destination, pino } from 'pino';
import type { Log } from '../core/log.ts';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LEVELS)[number] | 'silent';

/** Lines of JSON on stderr, for machines; lines of text when a person reads them at a terminal. */
export function programLog(level: LogLevel, readable: boolean): Log {
  return readable ? textLog(level) : pino({ level, base: null }, destination({ dest: 2, sync: true }));
}

function textLog(level: LogLevel): Log {
  const least = level === 'silent' ? LEVELS.length : LEVELS.indexOf(level);
  const at = (name: (typeof LEVELS)[number]) => {
    if (LEVELS.indexOf(name) < least) return () => {};
    return (fields: object, message: string) => {
      const time = new Date().toISOString().slice(11, 23);
      process.stderr.write(`${time} ${name.padEnd(5)} ${message}${fieldsText(fields)}\n`);
    };
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function fieldsText(fields: object): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${valueText(value)}`)
    .join('');
}

function valueText(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(value.message);
  if (typeof value === 'string') return /[\s"]/.test(value) ? JSON.stringify(value) : value;
  return JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? 'undefined';
}
