import { z } from 'zod';
import { timeMs } from './units.ts';

/** What every hook has. */
const program = (timeoutMs: number, purpose: string) => ({
  command: z
    .preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(z.string().min(1)).min(1))
    .describe(`a path, or a list of it and its arguments: ${purpose}`),
  timeout: timeMs.default(timeoutMs).describe('it is killed after this'),
});

/** A path or a list may stand for the whole. */
function hook<Shape extends z.ZodRawShape>(shape: Shape) {
  const whole = (value: unknown) => (typeof value === 'string' || Array.isArray(value) ? { command: value } : value);
  return z.preprocess(whole, z.strictObject(shape)).nullable().default(null);
}

export const hooksSchema = z.strictObject({
  validate: hook(program(10_000, 'asked before a failover begins; fails: not now')),
  fence: hook({
    ...program(10_000, 'makes sure that the old primary is off'),
    required: z.boolean().default(false).describe('true: without its success nobody is promoted'),
  }),
  rejoin: hook(program(600_000, 'makes a replica of a former primary')),
  notify: hook(program(10_000, 'told every event')),
});
