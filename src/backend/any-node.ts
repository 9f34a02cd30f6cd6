import type pg from 'pg';
import type { Cluster } from '../cluster/cluster.ts';
import { FairleadError } from '../core/errors.ts';
import { ControlConnection, ControlError, type ControlTarget } from './control-connection.ts';

/** An answer of one node later than this is none: the next one is asked. */
const ASK_MS = 2000;

/**
 * Asks what every node of the cluster can answer, best of all the primary, which knows first: who may log in, which databases there are.
 * One connection per node, made when it is needed.
 */
export class AnyNode {
  readonly #cluster: Cluster;
  readonly #target: (node: string) => ControlTarget;
  readonly #connections = new Map<string, ControlConnection>();

  constructor(cluster: Cluster, target: (node: string) => ControlTarget) {
    this.#cluster = cluster;
    this.#target = target;
  }

  /**
   * @throws ControlError `sql` when a node answered with an error
   * @throws FairleadError `lookup_failed` when no node answered
   */
  async query<Row extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<Row[]> {
    const problems: string[] = [];
    for (const node of this.#order()) {
      try {
        return await this.#connection(node).query<Row>(text, values, ASK_MS);
      } catch (error) {
        if (!(error instanceof ControlError) || error.kind === 'sql') throw error;
        problems.push(`${node}: ${error.message}`);
      }
    }
    throw new FairleadError('lookup_failed', `no node answers: ${problems.join('; ') || 'all are down'}`);
  }

  stop(): void {
    for (const connection of this.#connections.values()) connection.close();
  }

  /** The primary, then those that answer, then those of which nothing is known; none that is no part of the cluster. */
  #order(): string[] {
    const { nodes, primary } = this.#cluster.topology.value;
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

  #connection(node: string): ControlConnection {
    let connection = this.#connections.get(node);
    if (connection === undefined) {
      connection = new ControlConnection(this.#target(node), 'fairlead-auth');
      this.#connections.set(node, connection);
    }
    return connection;
  }
}
