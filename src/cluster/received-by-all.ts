import { membersOf, type NodeConfig } from '../config/config.ts';
import { LSN_ZERO, type Lsn, lsn } from '../core/lsn.ts';
import type { Assignment } from './assignment.ts';
import type { Observation } from './observation.ts';

const EVERYTHING = lsn(2n ** 64n - 1n);

/**
 * Up to here every replica that may be promoted has the primary's WAL: what committed before cannot be lost by a promotion. Nothing
 * while there is no primary, or where one has not told its position on this timeline; everything where there is nobody to promote.
 */
export function receivedByAll(
  nodes: readonly NodeConfig[],
  { primary, timeline, systemId, fenced }: Assignment,
  lastOf: (node: string) => Observation | null,
): Lsn {
  if (primary === null) return LSN_ZERO;
  let least = EVERYTHING;
  for (const { name, promotable } of membersOf(nodes)) {
    if (!promotable || name === primary || fenced.has(name)) continue;
    const last = lastOf(name);
    if (last !== null && (last.role !== 'replica' || last.systemId !== systemId)) continue;
    if (last === null || last.timeline !== timeline) return LSN_ZERO;
    if (last.receiveLsn < least) least = last.receiveLsn;
  }
  return least;
}
