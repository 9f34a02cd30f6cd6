import pg from 'pg';
import type { ProbeFailure } from '../cluster/observation.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import { messageOf } from '../core/errors.ts';

export type ControlTarget = {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string | null;
};

/** How the cluster's own role reaches a node. */
export function controlTarget(config: Config, node: NodeConfig): ControlTarget {
  const { database, user, password } = config.cluster;
  return { name: node.name, host: node.host, port: node.port, database, user, password };
}

/** A control statement that failed, with what that says about the server. */
export class ControlError extends Error {
  readonly node: string;
  readonly kind: ProbeFailure;
  /** SQLSTATE of the server's answer, or null when none came. */
  readonly sqlState: string | null;

  constructor(node: string, kind: ProbeFailure, sqlState: string | null, message: string) {
    super(message);
    this.name = 'ControlError';
    this.node = node;
    this.kind = kind;
    this.sqlState = sqlState;
  }
}

/**
 * One lazily opened `pg` connection for probes, promotion and other slow-path statements. Statements are queued by `pg`;
 * a statement that is late destroys the connection, so that a hung server is noticed by the clock and not by TCP.
 */
export class ControlConnection {
  readonly target: ControlTarget;
  readonly #applicationName: string;
  #client: pg.Client | null = null;
  #connecting: Promise<pg.Client> | null = null;

  constructor(target: ControlTarget, applicationName: string) {
    this.target = target;
    this.#applicationName = applicationName;
  }

  /**
   * Runs one statement. `timeoutMs` covers connecting and answering together.
   * @throws ControlError always of this type.
   */
  async query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = [], timeoutMs = 5000): Promise<Row[]> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(this.#error('timeout', null, `no answer within ${Math.round(timeoutMs)} ms`));
        this.close();
      }, timeoutMs);
    });
    try {
      return await Promise.race([this.#run<Row>(text, values), late]);
    } catch (error) {
      throw error instanceof ControlError ? error : this.#classify(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Drops the connection at once; the next statement opens a new one. */
  close(): void {
    const client = this.#client;
    this.#client = null;
    this.#connecting = null;
    // destroyed, not ended: a hung server would never answer a polite goodbye
    if (client !== null)
      (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  }

  async #run<Row extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<Row[]> {
    const client = await (this.#connecting ?? this.#connect());
    const result = await client.query<Row>(text, values);
    return result.rows;
  }

  #connect(): Promise<pg.Client> {
    const { host, port, database, user, password } = this.target;
    const client = new pg.Client({
      host,
      port,
      database,
      user,
      ...(password === null ? {} : { password }),
      application_name: this.#applicationName,
      keepAlive: true,
    });
    const forget = () => {
      if (this.#client !== client) return;
      this.#client = null;
      this.#connecting = null;
    };
    client.on('error', forget);
    client.on('end', forget);
    this.#client = client;
    this.#connecting = client.connect().then(
      () => client,
      (error) => {
        forget();
        throw error;
      },
    );
    this.#connecting.catch(() => {});
    return this.#connecting;
  }

  #classify(error: unknown): ControlError {
    const code = (error as { code?: string }).code ?? '';
    const text = messageOf(error);
    if (/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|EADDRNOTAVAIL)$/.test(code)) {
      return this.#error('refused', null, text.includes(code) ? text : `${code} ${text}`);
    }
    if (code === 'ETIMEDOUT') return this.#error('timeout', null, text);
    if (/^[0-9A-Z]{5}$/.test(code) && code !== 'EPIPE') {
      if (code === '57P03') return this.#error('starting', code, text);
      if (code === '53300') return this.#error('too_many', code, text);
      if (code.startsWith('28')) return this.#error('auth', code, text);
      if (code.startsWith('57P')) return this.#error('lost', code, text);
      return this.#error('sql', code, text);
    }
    return this.#error('lost', null, text);
  }

  #error(kind: ProbeFailure, sqlState: string | null, message: string): ControlError {
    return new ControlError(this.target.name, kind, sqlState, message);
  }
}
