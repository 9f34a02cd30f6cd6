import type { ControlNodes } from '../control-nodes.ts';
import { until } from '../until.ts';

const STATEMENT_MS = 2000;
const CONFIRM_MS = 3000;

const HAS = `SELECT current_setting('synchronous_standby_names') = $1 AS has`;

/** @throws ControlError */
export async function hasNames(nodes: ControlNodes, node: string, text: string): Promise<boolean> {
  const [row] = await nodes.query<{ has: boolean }>(node, HAS, [text], STATEMENT_MS);
  return row?.has === true;
}

/** Resolves when our own session has the setting: then the postmaster had it before. @throws ControlError | Error when it does not take */
export async function writeNames(nodes: ControlNodes, node: string, text: string): Promise<void> {
  await nodes.alterSystem(node, { synchronous_standby_names: text }, STATEMENT_MS);
  const took = await until(CONFIRM_MS, async () => ((await hasNames(nodes, node, text)) ? true : null));
  if (took === null) throw new Error(`synchronous_standby_names = '${text}' did not take on ${node}`);
}
