import { z } from 'zod';
import { sizeBytes, timeMs } from './units.ts';

export const failoverSchema = z.strictObject({
  mode: z
    .enum(['automatic', 'manual', 'follow', 'off'])
    .default('automatic')
    .describe('automatic promotes by itself; manual on request; follow: goes where somebody else promotes'),
  timeout: timeMs.default(3000).describe('how long the primary may be silent before it is suspected'),
  restart_wait: timeMs
    .nullable()
    .default(null)
    .describe(
      'how long a primary that is down or recovers may take to come back; none: 1s where nothing listens, else timeout',
    ),
  max_promotions: z
    .number()
    .int()
    .min(1)
    .default(5)
    .describe('promotions by Fairlead itself within ten minutes; the next one is left to an operator'),
  max_loss: sizeBytes.default(16 * 1024 * 1024).describe('most WAL that an automatic promotion may lose'),
  hold: timeMs.default(30_000).describe('how long clients wait while there is no primary'),
  keep_rows: sizeBytes
    .default(64 * 1024 * 1024)
    .describe('memory for rows of commits that not every replica has yet, to be told when they are lost; 0: none'),
  journal_directory: z
    .string()
    .nullable()
    .default(null)
    .describe('where lost transactions are written to; none: $STATE_DIRECTORY, or the state directory of the user'),
  demote: z
    .boolean()
    .default(true)
    .describe('after a switchover the old primary is made a follower by its agent, where it has one'),
  outcomes: z
    .enum(['tell', 'resolve'])
    .default('tell')
    .describe('of a COMMIT whose server died: tell says that the outcome is unknown; resolve asks the next primary'),
});
