import { destination, pino } from 'pino';
import { type Log, type LogThreshold, logFrom } from '../core/log.ts';

/** Lines of JSON on stderr, for machines; lines of text when a person reads them at a terminal. */
export function programLog(level: LogThreshold, readable: boolean): Log {
  return readable ? textLog(level) : pino({ level, base: null }, destination({ dest: 2, sync: true }));
}

function textLog(least: LogThreshold): Log {
  return logFrom(least, (level, fields, message) => {
    const time = new Date().toISOString().slice(11, 23);
    process.stderr.write(`${time} ${level.padEnd(5)} ${message}${fieldsText(fields)}\n`);
  });
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
