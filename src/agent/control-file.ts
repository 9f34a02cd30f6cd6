import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** How a server ended or goes on (`DBState` in pg_control.h). */
const STATES = [
  'starting',
  'shut down',
  'shut down in recovery',
  'shutting down',
  'in crash recovery',
  'in recovery',
  'in production',
] as const;

export type ControlFile = {
  readonly systemId: string;
  readonly state: (typeof STATES)[number];
  /** Of the last checkpoint: lags behind a promotion. */
  readonly timeline: number;
};

/**
 * The head of `global/pg_control`, whose layout is that of 13 to 18 (pg_control.h); pg_controldata is not in every package.
 * Null when there is no data directory.
 */
export function readControlFile(dataDirectory: string): ControlFile | null {
  let bytes: Buffer;
  try {
    bytes = readFileSync(join(dataDirectory, 'global', 'pg_control'));
  } catch {
    return null;
  }
  if (bytes.length < 56) return null;
  return {
    systemId: bytes.readBigUInt64LE(0).toString(),
    state: STATES[bytes.readInt32LE(16)] ?? 'starting',
    timeline: bytes.readUInt32LE(48),
  };
}

export function isShutDown({ state }: ControlFile): boolean {
  return state === 'shut down' || state === 'shut down in recovery';
}
