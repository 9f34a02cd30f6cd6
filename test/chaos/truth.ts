import { until } from '../support/wait.ts';
import type { Arena } from './arena.ts';

/**
 * Ids from `first` on that are on the one server which is a primary; all others have to get the same.
 * @throws Error when it is not the assigned one, or another one is a primary too
 */
export async function idsThere(arena: Arena, first: number): Promise<number[]> {
  const { nodes } = arena.cluster;
  const state = `SELECT pg_is_in_recovery() AS recovery`;
  const recovering = await Promise.all(nodes.map(async (node) => (await node.query(state))[0]?.recovery === true));
  const primaries = nodes.filter((_, index) => recovering[index] === false);
  const assigned = await arena.primary();
  const [primary] = primaries;
  if (primaries.length !== 1 || primary?.name !== assigned) {
    throw new Error(`${primaries.map(({ name }) => name).join(' and ')} out of recovery, ${assigned} is assigned`);
  }
  const text = 'SELECT id FROM journal WHERE id >= $1 ORDER BY id';
  const idsOn = async (node: (typeof nodes)[number]) =>
    (await node.query<{ id: number }>(text, [first])).map(({ id }) => id);
  const there = await idsOn(primary);
  for (const node of nodes) {
    await until(async () => String(await idsOn(node)) === String(there), {
      what: `${node.name} to have the rows of ${primary.name}`,
      timeoutMs: 20_000,
    });
  }
  return there;
}
