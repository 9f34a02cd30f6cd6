/** What an agent is asked to do, and how far it is. One at a time. */
import { z } from 'zod';

const source = z.strictObject({
  conninfo: z.string().min(1),
  slot: z
    .string()
    .regex(/^[a-z0-9_]{1,63}$/)
    .nullable()
    .default(null),
  rewindConninfo: z.string().min(1).nullable().default(null),
});

/** Where the ancestors of the source's timeline were left. */
const history = z.array(
  z.strictObject({ timeline: z.int().min(1), endLsn: z.string().regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/) }),
);

/** The server is started at the end: whoever asked for it may be gone by then. */
const start = z.boolean().optional();

/** The bodies of `POST /start`, `/stop`, `/follow`, `/rewind` and `/clone`. */
export const REQUESTS = {
  start: z.strictObject({}).optional(),
  stop: z.strictObject({ mode: z.enum(['fast', 'immediate']).default('fast') }).optional(),
  follow: z.strictObject({ source, history, start }),
  rewind: z.strictObject({ source, start }),
  clone: z.strictObject({ source, start }),
} as const;

export type OperationKind = keyof typeof REQUESTS;

export type StopMode = 'fast' | 'immediate';

export type Operation = {
  readonly id: string;
  readonly kind: OperationKind;
  readonly state: 'running' | 'done' | 'failed';
  /** What it does at the moment, in words. */
  readonly stage: string;
  /** What it has done before, oldest first: some of it takes less time than passes between two looks. */
  readonly stages: readonly string[];
  /** Bytes moved of about `totalBytes`; null where nothing is counted. */
  readonly doneBytes: number | null;
  readonly totalBytes: number | null;
  /** Wall clock, milliseconds since 1970. */
  readonly startedAt: number;
  readonly endedAt: number | null;
  readonly error: string | null;
  readonly remedy: string | null;
};

/** Tells what an operation is at; `bytes` where something is counted. */
export type Step = (stage: string, bytes?: { readonly doneBytes: number; readonly totalBytes: number }) => void;

export type AgentStatus = {
  readonly version: string;
  readonly dataDirectory: string;
  /** Of the server's programs. */
  readonly postgres: { readonly version: string; readonly major: number };
  /** There is a data directory. */
  readonly exists: boolean;
  readonly running: boolean;
  /** It takes connections. */
  readonly accepting: boolean;
  /** A standby, or one that was shut down as one; null without a data directory. */
  readonly inRecovery: boolean | null;
  readonly systemId: string | null;
  /** Of its last checkpoint: lags behind a promotion. */
  readonly timeline: number | null;
  /** As pg_control has it. */
  readonly state: string | null;
  /** `primary_slot_name` of postgresql.auto.conf: what it streams from, or did; null: nothing. */
  readonly slot: string | null;
  /** Why pg_rewind cannot be used here; null: it can. */
  readonly noRewind: string | null;
  /** What a kill left half done; null: nothing. */
  readonly leftover: string | null;
  /** The one under way, else the last one since the agent was started. */
  readonly operation: Operation | null;
};
