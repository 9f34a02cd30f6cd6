import type { Phase } from '../cluster/assignment.ts';

/**
 * Allowed moves of the failover controller.
 *
 * | phase | meaning | left when |
 * |---|---|---|
 * | starting | nobody is assigned yet, or the assigned primary turned out not to be one | one primary is adopted; none answers; several contradict each other |
 * | steady | the primary is assigned and answers | it is silent for `failover.timeout`; an operator asks |
 * | suspect | it is silent; the replicas' WAL receivers are asked | it answers; its death is confirmed; it is dead and nobody may follow |
 * | fencing | nobody is primary; the epoch is raised; the replicas stop receiving | all positions stand still; the primary came back |
 * | electing | positions are compared | a replica is elected, or none may be; a switchover is undone; somebody else promotes one |
 * | promoting | the elected replica leaves recovery | it is a primary; it failed |
 * | repointing | the new primary takes writes; the others are turned to it | all were tried |
 * | halted | there is no primary and no safe way to have one | a primary appears; a replica becomes eligible; an operator forces it |
 */
export const MOVES: Readonly<Record<Phase, readonly Phase[]>> = {
  starting: ['steady', 'suspect', 'fencing', 'halted'],
  steady: ['starting', 'suspect', 'fencing'],
  suspect: ['steady', 'starting', 'fencing', 'halted'],
  fencing: ['electing', 'steady', 'suspect', 'halted'],
  electing: ['promoting', 'steady', 'starting', 'halted'],
  promoting: ['repointing', 'electing', 'halted'],
  repointing: ['steady'],
  halted: ['starting', 'steady', 'fencing'],
};

export function mayMove(from: Phase, to: Phase): boolean {
  return from === to || MOVES[from].includes(to);
}

/** The one mover. @throws Error on a move that the table does not have: a bug, never a condition of the cluster. */
export function move<State extends { readonly phase: Phase }>(
  state: State,
  to: Phase,
  change: Partial<Omit<State, 'phase'>>,
): State {
  if (!mayMove(state.phase, to)) throw new Error(`illegal move of the failover controller: ${state.phase} to ${to}`);
  return Object.freeze({ ...state, ...change, phase: to });
}
