import type { Synchrony } from '../../src/cluster/synchrony.ts';

/** Any 1 of two followers, one of which does not acknowledge just now. */
export const SYNCHRONY: Synchrony = {
  mode: 'quorum',
  copies: 1,
  degrade: 'block',
  state: 'confirmed',
  reason: 'acknowledged commits are on 1 of pg2, pg3',
  setting: 'ANY 1 ("pg2", "pg3")',
  guarantee: [{ copies: 1, nodes: ['pg2', 'pg3'] }],
  nodes: new Map([
    ['pg2', 'quorum'],
    ['pg3', 'failing'],
  ]),
};
