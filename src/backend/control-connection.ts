import pg from 'pg';
import type { ProbeFailure } from '../cluster/observation.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { type ControlStream, reach } from '../transport/control-stream.ts';
import {
  type Encryption,
  encryptionsFor,
  isTlsFault,
  letIn,
  refusedByEncryption,
  type ServerAddress,
} from '../transport/server-socket.ts';

export type ControlTarget = ServerAddress & {
  readonly name: string;
  readonly database: string;
  readonly user: string;
  readonly password: string | null;
};

/** How the cluster's own role reaches a node. */
export function controlTarget(config: Config, node: NodeConfig): ControlTarget {
  const { database, user, password } = config.cluster;
  return { name: node.name, host: node.host, port: node.port, tls: node.tls, database, user, password };
}

/** What `pg` needs to log in as the cluster's own role. */
export function controlLogin(target: ControlTarget, applicationName: string, encryption?: Encryption): pg.ClientConfig {
  const { database, user, password } = target;
  return {
    ...reach(target, encryption),
    database,
    user,
    ...(password === null ? {} : { password }),
    application_name: applicationName,
    keepAlive: true,
  };
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
  readonly #lost: () => void;
  #client: pg.Client | null = null;
  #connecting: Promise<pg.Client> | null = null;
  /** Logged in. */
  #ready = false;
  /** Counts attempts and goodbyes: an attempt that was overtaken goes no further. */
  #generation = 0;
  /** Settles when the statements before are answered: one at a time. */
  #before: Promise<unknown> = Promise.resolve();

  /** @param lost called when a connection that was logged in ends without our doing */
  constructor(target: ControlTarget, applicationName: string, lost: () => void = () => {}) {
    this.#lost = lost;
    this.target = target;
    this.#applicationName = applicationName;
  }

  /**
   * Runs one statement. `timeoutMs` covers connecting and answering together.
   * @param late called should a server that had accepted the connection answer after all, an error counting as an answer; the connection
   * stays open for that
   * @throws ControlError always of this type.
   */
  async query<Row extends pg.QueryResultRow>(
    text: string,
    values: unknown[] = [],
    timeoutMs = 5000,
    late?: () => void,
  ): Promise<Row[]> {
    let timer: NodeJS.Timeout | undefined;
    const running = this.#run<Row>(text, values);
    const missed = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = this.#missed(timeoutMs);
        reject(error);
        // given up, it must not be carried out later
        if (late === undefined || error.kind === 'unreachable') this.#drop((stream) => stream.abort());
        else running.then(late, (failed) => (this.#classify(failed).sqlState === null ? undefined : late()));
      }, timeoutMs);
    });
    try {
      return await Promise.race([running, missed]);
    } catch (error) {
      throw error instanceof ControlError ? error : this.#classify(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Drops the connection at once; the next statement opens a new one. */
  close(): void {
    // destroyed, not ended: a hung server would never answer a polite goodbye
    this.#drop((stream) => stream.destroy());
  }

  #drop(end: (stream: ControlStream) => void): void {
    const client = this.#client;
    this.#client = null;
    this.#connecting = null;
    this.#ready = false;
    this.#before = Promise.resolve();
    this.#generation++;
    if (client !== null) end((client as unknown as { connection: { stream: ControlStream } }).connection.stream);
  }

  async #run<Row extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<Row[]> {
    const answered = this.#before.then(async () => {
      const client = await (this.#connecting ?? this.#connect());
      const { rows } = await client.query<Row>(text, values);
      return rows;
    });
    this.#before = answered.catch(() => {});
    return answered;
  }

  /** Where `cluster.tls.mode` leaves a choice, the second one is tried when pg_hba.conf has no line for the first. */
  #connect(): Promise<pg.Client> {
    const [first, second] = encryptionsFor(this.target) as readonly [Encryption, Encryption?];
    const generation = ++this.#generation;
    const connecting = this.#attempt(first).catch((error) => {
      if (second === undefined || !refusedByEncryption(error) || this.#generation !== generation) throw error;
      const accepted = (client: pg.Client) => {
        letIn(this.target, second);
        return client;
      };
      return this.#attempt(second).then(accepted, () => {
        throw error;
      });
    });
    this.#connecting = connecting;
    connecting.catch(() => {
      if (this.#generation === generation) this.#connecting = null;
    });
    return connecting;
  }

  async #attempt(encryption: Encryption): Promise<pg.Client> {
    const client = new pg.Client(controlLogin(this.target, this.#applicationName, encryption));
    let connected = false;
    const forget = () => {
      if (this.#client !== client || !connected) return;
      this.#client = null;
      this.#connecting = null;
      this.#ready = false;
      this.#lost();
    };
    client.on('error', forget);
    client.on('end', forget);
    this.#client = client;
    await client.connect();
    connected = true;
    if (this.#client === client) this.#ready = true;
    return client;
  }

  /** A host that takes no connection and a server that takes it and is silent are told apart. */
  #missed(timeoutMs: number): ControlError {
    const within = `within ${Math.round(timeoutMs)} ms`;
    if (this.#ready) return this.#error('hung', null, `no answer ${within}`);
    const stream = (this.#client as unknown as { connection?: { stream?: ControlStream } } | null)?.connection?.stream;
    if (stream?.reached === true)
      return this.#error('hung', null, `it accepts the connection and gives no answer ${within}`);
    return this.#error('unreachable', null, `no connection ${within}`);
  }

  #classify(error: unknown): ControlError {
    const code = (error as { code?: string }).code ?? '';
    const text = messageOf(error);
    // the server is there, and TLS with it does not come about: that is no sign of its death
    if (error instanceof FairleadError || isTlsFault(error)) return this.#error('auth', null, text);
    if (/^(ECONNREFUSED|EHOSTUNREACH|EHOSTDOWN|ENETUNREACH|ENOTFOUND|EAI_AGAIN|EADDRNOTAVAIL)$/.test(code)) {
      const kind = code === 'ECONNREFUSED' ? 'refused' : 'unreachable';
      return this.#error(kind, null, text.includes(code) ? text : `${code} ${text}`);
    }
    if (code === 'ETIMEDOUT') return this.#error('unreachable', null, text);
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
