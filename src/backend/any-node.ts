import type pg from 'pg';
import type { Cluster } from '../cluster/cluster.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError } from '../core/errors.ts';
import { ControlConnection, ControlError, type ControlTarget } from './control-connection.ts';

/** An answer of one node later than this is none: the next one is asked. */
const ASK_MS = 2000;

/** Connections to one node at most: a crowd of logins shares them. */
const MAX_LANES = 3;

/** One connection, which one question after the other goes over. */
class Lane {
  readonly #connection: ControlConnection;
  #tail: Promise<unknown> = Promise.resolve();
  #failed: { readonly atMs: number; readonly error: ControlError } | null = null;
  waiting = 0;

  constructor(target: ControlTarget) {
    this.#connection = new ControlConnection(target, 'fairlead-auth');
  }

  query<Row extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<Row[]> {
    const cameMs = nowMs();
    this.waiting++;
    const answer = this.#tail.then(() => this.#ask<Row>(text, values, cameMs)).finally(() => this.waiting--);
    this.#tail = answer.catch(() => {});
    return answer;
  }

  close(): void {
    this.#failed = { atMs: Number.POSITIVE_INFINITY, error: new ControlError('', 'lost', null, 'fairlead stops') };
    this.#connection.close();
  }

  async #ask<Row extends pg.QueryResultRow>(text: string, values: unknown[], cameMs: number): Promise<Row[]> {
    // who waited behind a question that a silent node did not answer need not learn that once more
    if (this.#failed !== null && this.#failed.atMs > cameMs) throw this.#failed.error;
    try {
      return await this.#connection.query<Row>(text, values, ASK_MS);
    } catch (error) {
      if (error instanceof ControlError && error.kind !== 'sql') this.#failed = { atMs: nowMs(), error };
      throw error;
    }
  }
}

/**
 * Asks what every node of the cluster can answer, best of all the primary, which knows first: who may log in, which databases there are.
 * Connections are made when they are needed.
 */
export class AnyNode {
  readonly #cluster: Cluster;
  readonly #target: (node: string) => ControlTarget;
  readonly #lanes = new Map<string, Lane[]>();
  #stopped = false;

  constructor(cluster: Cluster, target: (node: string) => ControlTarget) {
    this.#cluster = cluster;
    this.#target = target;
  }

  /**
   * @param primaryOnly what is missing on a replica may not have been replayed yet
   * @throws ControlError `sql` when a node answered with an error
   * @throws FairleadError `lookup_failed` when no node answered
   */
  async query<Row extends pg.QueryResultRow>(text: string, values: unknown[], primaryOnly = false): Promise<Row[]> {
    const problems: string[] = [];
    for (const node of this.#stopped ? [] : this.#order(primaryOnly)) {
      try {
        return await this.#lane(node).query<Row>(text, values);
      } catch (error) {
        if (!(error instanceof ControlError) || error.kind === 'sql') throw error;
        problems.push(`${node}: ${error.message}`);
      }
    }
    throw new FairleadError('lookup_failed', `no node answers: ${problems.join('; ') || 'all are down'}`);
  }

  /** Nothing is asked any more. */
  stop(): void {
    this.#stopped = true;
    for (const lanes of this.#lanes.values()) for (const lane of lanes) lane.close();
  }

  /** The primary, then those that answer, then those of which nothing is known; none that is no part of the cluster. */
  #order(primaryOnly: boolean): string[] {
    const { nodes, primary } = this.#cluster.topology.value;
    if (primaryOnly) return primary === null ? [] : [primary.name];
    const rank = (name: string, state: string): number => {
      if (name === primary?.name) return 0;
      if (state === 'up') return 1;
      if (state === 'lagging' || state === 'draining') return 2;
      return state === 'unknown' ? 3 : 4;
    };
    return nodes
      .map(({ name, state }) => ({ name, rank: rank(name, state) }))
      .filter((node) => node.rank < 4)
      .sort((a, b) => a.rank - b.rank)
      .map(({ name }) => name);
  }

  /** One that is free, or the one with the shortest queue. */
  #lane(node: string): Lane {
    const lanes = this.#lanes.get(node) ?? [];
    this.#lanes.set(node, lanes);
    const best = lanes.reduce<Lane | null>((a, b) => (a === null || b.waiting < a.waiting ? b : a), null);
    if (best !== null && (best.waiting === 0 || lanes.length >= MAX_LANES)) return best;
    const made = new Lane(this.#target(node));
    lanes.push(made);
    return made;
  }
}
