import type { Counts } from '../backend/database-counters.ts';
import type { Exchange } from '../backend/exchange.ts';
import type { LinkHolder } from '../backend/link-holder.ts';
import type { Pace } from '../backend/pace.ts';
import type { Pool } from '../backend/pool.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import {
  captureQuery,
  NO_SETTINGS,
  namedQuery,
  type SettingsSet,
  settingsDifference,
  settingsSet,
  withNamed,
} from '../backend/settings-set.ts';
import type { TopologyNode } from '../cluster/topology.ts';
import type { PoolSettings } from '../config/pool-settings.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError } from '../core/errors.ts';
import type { Lsn } from '../core/lsn.ts';
import type { RouteReason } from '../routing/decision.ts';
import { HiddenQuery, type HiddenResult } from './hidden-query.ts';
import type { Placed } from './placement.ts';

const TIMEOUT = 'statement_timeout';
/** How often it is tried to set it, in the time that it gives. */
const TRIES = 10;

const DISCARD_ALL = /^\s*discard\s+all\s*;?\s*$/i;

/** A session holding a server connection exclusively, until it lets others share it. */
export class Link {
  readonly connection: ServerConnection;
  readonly node: TopologyNode;
  readonly reason: RouteReason;
  /** What a read on it must have seen; null: nothing, or it is no replica. */
  readonly floor: Lsn | null;
  /** Since when, monotonic milliseconds. */
  readonly sinceMs = nowMs();
  /** When its transaction began; null outside of one. */
  transactionSinceMs: number | null = null;
  /** Others may use the connection too. */
  shared = false;
  /** True until its first request is answered. */
  fresh = true;
  readonly #pool: Pool;

  constructor(placed: Placed, holder: LinkHolder) {
    this.connection = placed.connection;
    this.node = placed.node;
    this.reason = placed.reason;
    this.floor = placed.floor;
    this.#pool = placed.pool;
    this.connection.holder = holder;
    // what a replica keeps per connection no session can depend on
    if (!this.readOnly && holder.clientPid !== null) this.connection.home = holder;
    placed.pool.counts.serverAssignments++;
  }

  get counts(): Counts {
    return this.#pool.counts;
  }

  /** True when it leads to a replica. */
  get readOnly(): boolean {
    return this.#pool.key.purpose === 'ro';
  }

  /**
   * Makes the server connection have exactly these settings. Waits for the answer: a statement must not run under the wrong settings.
   * `then` is called at once when nothing differs.
   */
  apply(settings: SettingsSet, then: (error: FairleadError | null) => void): void {
    const difference = settingsDifference(this.connection.settings, settings);
    if (difference === null) {
      this.connection.settings = settings;
      return then(null);
    }
    this.ask(difference, (_rows, error) => {
      if (error === null) this.connection.settings = settings;
      else if (this.#mayTimeOut && error.code !== 'connection_lost') return this.#applyInTime(settings, then);
      else this.connection.tainted = true;
      then(error);
    });
  }

  /** Whoever had the connection before may have left a statement_timeout that even this takes longer than. */
  get #mayTimeOut(): boolean {
    return (this.connection.settings.values.get(TIMEOUT) ?? '0') !== '0';
  }

  #applyInTime(settings: SettingsSet, then: (error: FairleadError | null) => void): void {
    this.#suspendTimeout(TRIES, (timeout) => {
      const { connection } = this;
      if (timeout !== null) {
        connection.settings = withNamed(connection.settings, [[TIMEOUT, '0']]);
        return this.apply(settings, then);
      }
      // the session has nothing to do with that: there are other connections
      connection.tainted = true;
      then(
        new FairleadError('connection_lost', `node ${this.node.name}: settings of another session stand in the way`),
      );
    });
  }

  /** Sets again what a RESET took, also inside a transaction. `told` gets the ParameterStatus messages that result. */
  restore(settings: SettingsSet, told: (bytes: Buffer) => void, then: (error: FairleadError | null) => void): void {
    const text = settingsDifference(NO_SETTINGS, settings) as string;
    this.ask(text, (_rows, error, parameters) => {
      for (const parameter of parameters) told(parameter);
      then(error);
    });
  }

  /**
   * Reads back which settings the session has now.
   * @param named those that may have changed, or are not listed by the server
   * @param all whether others may have changed too
   */
  capture(named: readonly string[], all: boolean, then: (settings: SettingsSet | null) => void): void {
    const { settings: before } = this.connection;
    // custom settings that were applied before are not listed by the server either
    const query = all ? captureQuery([...new Set([...named, ...before.values.keys()])]) : namedQuery(named);
    if (query === null) return then(before);
    const read = (rows: (string | null)[][]) => {
      const settings = all
        ? settingsSet(rows.map(([name, value]) => [(name as string).toLowerCase(), value ?? ''] as const))
        : withNamed(before, rows);
      this.connection.settings = settings;
      return settings;
    };
    const failed = () => {
      this.connection.tainted = true;
      then(null);
    };
    this.ask(query, (rows, error) => {
      if (error === null) return then(read(rows));
      if (error.code === 'connection_lost') return failed();
      this.#suspendTimeout(TRIES, (timeout) => {
        if (timeout === null) return failed();
        this.ask(query, (again, lost) => {
          if (lost !== null) return failed();
          const settings = read(again);
          this.connection.settings = withNamed(settings, [[TIMEOUT, '0']]);
          // what it had it has again before its next statement
          then(withNamed(settings, [[TIMEOUT, timeout]]));
        });
      });
    });
  }

  /** The session's own statement_timeout may be shorter than our questions take. `then` gets what it was; null: it is not known. */
  #suspendTimeout(tries: number, then: (timeout: string | null) => void): void {
    this.ask(`SHOW ${TIMEOUT}; SET ${TIMEOUT} TO 0`, (rows, error) => {
      if (error === null) return then(rows[0]?.[0] ?? null);
      if (error.code === 'connection_lost' || tries <= 1) then(null);
      else this.#suspendTimeout(tries - 1, then);
    });
  }

  /**
   * Readies the connection for a request.
   * @param settings to apply, or null where they are right
   * @param forget whether the server has to forget the sequence values that others drew on the connection
   */
  prepare(settings: SettingsSet | null, forget: boolean, then: (error: FairleadError | null) => void): void {
    if (settings !== null) {
      return this.apply(settings, (error) => (error === null && forget ? this.prepare(null, true, then) : then(error)));
    }
    this.ask('DISCARD SEQUENCES', (_rows, error) => {
      if (error !== null) this.connection.tainted = true;
      then(error);
    });
  }

  /** Runs a statement of our own. A cancel request that is still under way is meant for the client's statement, not for ours. */
  ask(text: string, done: HiddenResult): void {
    this.connection.afterCancel(() => HiddenQuery.run(this.connection, text, done));
  }

  /** Lets single reads of others on the connection, if there are not enough such connections yet. */
  share(exchange: Exchange, pace: Pace): void {
    if (!this.#pool.shared.open(this.connection)) return;
    this.shared = true;
    this.connection.holder = null;
    this.connection.sharing?.joined(exchange, pace);
  }

  /** Gives the connection back. A shared one goes when nobody is left on it. */
  release(): void {
    if (this.shared) return;
    this.connection.holder = null;
    this.connection.resume();
    this.#pool.release(this.connection);
  }

  /** The session is over. @param idle it ran nothing and had no transaction open */
  leave(idle: boolean, pinned: boolean, { mode, resetQuery }: PoolSettings): void {
    if (idle && mode === 'session' && resetQuery !== '') this.#reset(resetQuery);
    else if (idle && !pinned) this.release();
    else this.drop('the client is gone');
  }

  /** What a session that had the connection to itself left behind is undone, then the connection is given back. */
  #reset(query: string): void {
    const { connection } = this;
    this.ask(query, (_rows, error) => {
      if (error !== null) connection.tainted = true;
      connection.statements.forgetAll();
      if (error !== null || DISCARD_ALL.test(query)) {
        connection.settings = NO_SETTINGS;
        return this.release();
      }
      // what a text of the operator's leaves is asked for
      this.ask('DEALLOCATE ALL', () => this.capture([], true, () => this.release()));
    });
  }

  /** The connection is in a state nobody else may have: it is closed, and what runs on it cancelled. */
  drop(reason: string): void {
    this.connection.holder = null;
    this.connection.abandon(reason);
  }
}
