import type pg from 'pg';
import { ControlConnection, ControlError, type ControlTarget } from '../backend/control-connection.ts';

/**
 * One control connection per node, opened in advance and apart from the probes: a promotion must not wait for a login, nor behind a
 * probe that hangs.
 */
export class ControlNodes {
  readonly #target: (node: string) => ControlTarget;
  readonly #connections = new Map<string, ControlConnection>();
  #closed = false;

  constructor(target: (node: string) => ControlTarget) {
    this.#target = target;
  }

  target(node: string): ControlTarget {
    return this.#target(node);
  }

  /**
   * Runs one statement that does no harm when it runs twice: a connection that broke while it was idle is replaced once.
   * @throws ControlError
   */
  async query<Row extends pg.QueryResultRow>(
    node: string,
    text: string,
    values: unknown[],
    timeoutMs: number,
  ): Promise<Row[]> {
    if (this.#closed) throw new ControlError(node, 'lost', null, 'Fairlead stops');
    const connection = this.#connection(node);
    try {
      return await connection.query<Row>(text, values, timeoutMs);
    } catch (error) {
      if (!(error instanceof ControlError) || error.kind !== 'lost' || this.#closed) throw error;
      connection.close();
      return connection.query<Row>(text, values, timeoutMs);
    }
  }

  /** ALTER SYSTEM takes no parameters and no transaction. `null` resets. @throws ControlError */
  async alterSystem(node: string, settings: Readonly<Record<string, string | null>>, timeoutMs: number): Promise<void> {
    for (const [name, value] of Object.entries(settings)) {
      const text = value === null ? `ALTER SYSTEM RESET ${name}` : `ALTER SYSTEM SET ${name} = ${literal(value)}`;
      await this.query(node, text, [], timeoutMs);
    }
    await this.query(node, 'SELECT pg_reload_conf()', [], timeoutMs);
  }

  /** For good: whoever waits for an answer gets an error. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }

  #connection(node: string): ControlConnection {
    let connection = this.#connections.get(node);
    if (connection === undefined) {
      connection = new ControlConnection(this.#target(node), 'fairlead-control');
      this.#connections.set(node, connection);
    }
    return connection;
  }
}

/** A string literal under standard_conforming_strings (the default, and what `pg` sessions have). */
function literal(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
