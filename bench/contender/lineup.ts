import { messageOf } from '../../src/core/errors.ts';
import { type Contender, directConnection, type Stage } from './contender.ts';
import { startFairlead, startFairleadWithReplicas, startFairleadWithWorkers } from './fairlead.ts';
import { startHaproxy } from './haproxy.ts';
import { startPgbouncer } from './pgbouncer.ts';
import { startPgpool } from './pgpool.ts';

const STARTS: Readonly<Record<string, (stage: Stage) => Promise<Contender | null>>> = {
  Fairlead: startFairlead,
  'Fairlead-replicas': startFairleadWithReplicas,
  'Fairlead-workers': startFairleadWithWorkers,
  PgBouncer: startPgbouncer,
  HAProxy: startHaproxy,
  'pgpool-II': startPgpool,
};

/**
 * Everybody that is found on this machine and serves, the direct connection first.
 * @param wanted keys of `STARTS`; null: all
 * @throws Error when one is not known
 */
export async function startAll(
  stage: Stage,
  wanted: readonly string[] | null,
  note: (line: string) => void,
): Promise<readonly Contender[]> {
  const unknown = wanted?.find((name) => !Object.hasOwn(STARTS, name));
  if (unknown !== undefined) throw new Error(`no contender ${unknown}: ${Object.keys(STARTS).join(', ')}`);
  const contenders: Contender[] = [directConnection(stage)];
  for (const [name, start] of Object.entries(STARTS)) {
    if (!(wanted?.includes(name) ?? true)) continue;
    try {
      const contender = await start(stage);
      if (contender !== null) contenders.push(contender);
    } catch (error) {
      note(`left out: ${messageOf(error)}`);
    }
  }
  return contenders;
}
