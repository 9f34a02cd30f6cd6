import type { Contender } from './contender/contender.ts';
import { ratio, table } from './table.ts';

/** One line: a number for each contender. */
export type ComparedRow = {
  readonly labels: readonly string[];
  /** Null: it has none. */
  value(contender: Contender): number | null;
  /** How the number is shown. */
  text(contender: Contender): string;
};

/** A column for each contender and, where both are there, one with Fairlead's number divided by PgBouncer's. */
export function comparison(
  labels: readonly string[],
  contenders: readonly Contender[],
  rows: readonly ComparedRow[],
  headOf: (contender: Contender) => string = ({ name }) => name,
): string[] {
  const named = (name: string) => contenders.find((contender) => contender.name === name);
  const [fairlead, rival] = [named('Fairlead'), named('PgBouncer')];
  const both = fairlead !== undefined && rival !== undefined;
  const heads = [...labels, ...contenders.map(headOf)];
  const lines = rows.map(({ labels: names, value, text }) => {
    const cells = [...names, ...contenders.map(text)];
    return both ? [...cells, ratio(value(fairlead), value(rival))] : cells;
  });
  return table([both ? [...heads, 'Fairlead / PgBouncer'] : heads, ...lines]);
}
