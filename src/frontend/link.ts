import type { LinkHolder } from '../backend/link-holder.ts';
import type { Pool } from '../backend/pool.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import { captureQuery, type SettingsSet, settingsDifference, settingsSet } from '../backend/settings-set.ts';
import type { TopologyNode } from '../cluster/topology.ts';
import type { FairleadError } from '../core/errors.ts';
import type { RouteReason } from '../routing/decision.ts';
import { HiddenQuery, type HiddenResult } from './hidden-query.ts';
import type { Placed } from './placement.ts';

/** A session holding a server connection exclusively. */
export class Link {
  readonly connection: ServerConnection;
  readonly node: TopologyNode;
  readonly reason: RouteReason;
  readonly #pool: Pool;

  constructor(placed: Placed, holder: LinkHolder) {
    this.connection = placed.connection;
    this.node = placed.node;
    this.reason = placed.reason;
    this.#pool = placed.pool;
    this.connection.holder = holder;
    // what a replica keeps per connection no session can depend on
    if (!this.readOnly && holder.clientPid !== null) this.connection.home = holder;
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
    this.#ask(difference, (_rows, error) => {
      if (error === null) this.connection.settings = settings;
      else this.connection.tainted = true;
      then(error);
    });
  }

  /** Reads back which settings the session has now. */
  capture(named: readonly string[], then: (settings: SettingsSet | null) => void): void {
    // custom settings that were applied before are not listed by the server either
    const asked = new Set([...named, ...this.connection.settings.values.keys()]);
    this.#ask(captureQuery([...asked]), (rows, error) => {
      if (error !== null) {
        this.connection.tainted = true;
        return then(null);
      }
      const settings = settingsSet(rows.map(([name, value]) => [(name as string).toLowerCase(), value ?? ''] as const));
      this.connection.settings = settings;
      then(settings);
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
    this.#ask('DISCARD SEQUENCES', (_rows, error) => {
      if (error !== null) this.connection.tainted = true;
      then(error);
    });
  }

  /** A cancel request that is still under way is meant for the client's statement, not for ours. */
  #ask(text: string, done: HiddenResult): void {
    this.connection.afterCancel(() => HiddenQuery.run(this.connection, text, done));
  }

  /** Gives the connection back. */
  release(): void {
    this.connection.holder = null;
    this.connection.resume();
    this.#pool.release(this.connection);
  }

  /** The connection is in a state nobody else may have: it is closed, and what runs on it cancelled. */
  drop(reason: string): void {
    this.connection.holder = null;
    this.connection.tainted = true;
    if (this.connection.depth === 0) return this.connection.end();
    this.connection.cancel();
    this.connection.destroy(reason);
  }
}
