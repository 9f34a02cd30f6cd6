import { messageOf } from '../src/core/errors.ts';
import type { Contender } from './contender/contender.ts';

/** What one contender did in one cell: a result of each round, or why it could not. */
export type Outcome<T> = { readonly results: readonly T[]; readonly failure: string | null };

export type Outcomes<T, C = Contender> = ReadonlyMap<C, Outcome<T>>;

/**
 * All contenders in turn, every second round in the opposite order, so that a machine that slows down slows everybody down. Who fails
 * once is not asked again.
 */
export async function takeTurns<T, C>(
  rounds: number,
  contenders: readonly C[],
  measure: (contender: C) => Promise<T>,
): Promise<Outcomes<T, C>> {
  const outcomes = new Map<C, Outcome<T>>();
  for (let round = 0; round < rounds; round++) {
    for (const contender of round % 2 === 0 ? contenders : [...contenders].reverse()) {
      const { results, failure } = outcomes.get(contender) ?? { results: [], failure: null };
      if (failure !== null) continue;
      try {
        outcomes.set(contender, { results: [...results, await measure(contender)], failure: null });
      } catch (error) {
        outcomes.set(contender, { results, failure: messageOf(error) });
      }
    }
  }
  return outcomes;
}

/** The mean of what its rounds gave; null where it failed. */
export function meanOf<T>(outcome: Outcome<T> | undefined, of: (result: T) => number | null): number | null {
  if (outcome === undefined || outcome.failure !== null) return null;
  const values = outcome.results.map(of).filter((value) => value !== null);
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A line for each contender that failed, saying why. */
export function failuresOf<T, C extends { readonly name: string }>(outcomes: Outcomes<T, C>, what: string): string[] {
  return [...outcomes].flatMap(([{ name }, { failure }]) =>
    failure === null ? [] : [`* –: ${name}, ${what}: ${failure}`],
  );
}
