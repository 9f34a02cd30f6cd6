/**
 * Makes a former primary a standby as it is. That is possible where its WAL ends at the point at which it was replaced, or before: after a
 * switchover, and after many a crash. Nothing has to be rewound then, and nothing is copied.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { FairleadError } from '../core/errors.ts';
import type { TimelineStep } from '../failover/timeline-history.ts';
import { readControlFile } from './control-file.ts';
import type { LocalNode } from './local-node.ts';
import { serverState, stopServer } from './local-server.ts';
import type { Step } from './operation.ts';
import { removeTree } from './places.ts';
import type { Source } from './source.ts';
import { makeStandby, wasPrimary } from './standby-files.ts';
import { cutSnapshots, walBeyond } from './wal-end.ts';

/**
 * Leaves the server stopped.
 * @param history the ancestors of the primary's timeline
 * @throws FairleadError refused; the data directory is as it was
 */
export async function follow(
  node: LocalNode,
  source: Source,
  history: readonly TimelineStep[],
  step: Step,
): Promise<void> {
  const { data, rewinding } = node.places;
  const refuse = (reason: string) => new FairleadError('refused', reason, 'rewind or clone it');
  if (existsSync(rewinding)) throw refuse('a rewind was interrupted: the data directory is neither old nor new');
  if (readControlFile(data) === null) throw refuse(`there is no data directory ${data}`);
  if (!wasPrimary(data)) throw refuse('it is no former primary');
  step('looking where its WAL ends');
  const before = walBeyond(data, history);
  if (before !== null) throw refuse(before);
  // not in order: the checkpoint of an orderly shutdown would be a record beyond the fork. What was acknowledged is on the disk, and is recovered
  if (serverState(data) !== 'down') await stopServer(node, 'immediate', step);
  const after = walBeyond(data, history);
  if (after !== null) throw refuse(after);
  if (cutSnapshots(data, history)) step('taking back what its background writer has noted');
  // as pg_rewind does: nobody streams from here any more, and a slot that nobody uses keeps WAL
  const slots = join(data, 'pg_replslot');
  for (const slot of existsSync(slots) ? readdirSync(slots) : []) removeTree(join(slots, slot));
  makeStandby(data, source, {}, { owner: node.owner, former: true });
}
