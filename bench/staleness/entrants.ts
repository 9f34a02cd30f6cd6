import { type Contender, directConnection, type Stage } from '../contender/contender.ts';
import { startFairleadWithReplicas } from '../contender/fairlead.ts';
import { type PgpoolBalance, startPgpoolWithReplicas } from '../contender/pgpool.ts';

/** Who can be measured; started when it is its turn, so that it has the machine to itself. */
export type Entrant = {
  readonly name: string;
  /** As `--contenders` has it; null: always. */
  readonly option: string | null;
  start(stage: Stage): Promise<Contender>;
};

export const FAIRLEAD = 'Fairlead';

/**
 * No one setting of pgpool is its best. Outside of transaction blocks `dml_adaptive` does what `transaction` and `trans_transaction` do: reads after a
 * write go to replicas. With the second only to those that the last check found to have everything; with the third never again in that session.
 */
const BALANCES: readonly PgpoolBalance[] = [
  { name: 'pgpool-II', onWrite: 'dml_adaptive', thresholdBytes: 10_000_000 },
  { name: 'pgpool-II, no delay', onWrite: 'dml_adaptive', thresholdBytes: 1 },
  { name: 'pgpool-II, always', onWrite: 'always', thresholdBytes: 0 },
];

const ENTRANTS: readonly Entrant[] = [
  { name: 'direct', option: null, start: async (stage) => directConnection(stage) },
  {
    name: FAIRLEAD,
    option: 'Fairlead',
    start: async (stage) => ({ ...(await startFairleadWithReplicas(stage)), name: FAIRLEAD }),
  },
  ...BALANCES.map(
    (balance): Entrant => ({
      name: balance.name,
      option: 'pgpool-II',
      start: async (stage) => {
        const contender = await startPgpoolWithReplicas(stage, balance);
        if (contender === null) throw new Error('it is not installed');
        return contender;
      },
    }),
  ),
];

/** @param wanted null: all */
export function entrantsOf(wanted: readonly string[] | null): readonly Entrant[] {
  return ENTRANTS.filter(({ option }) => option === null || (wanted?.includes(option) ?? true));
}
