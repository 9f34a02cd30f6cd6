import type { Identity } from '../backend/pools.ts';
import { LoginRefused } from '../backend/server-login.ts';
import type { SettingsSet } from '../backend/settings-set.ts';
import { FairleadError } from '../core/errors.ts';
import { Causality } from '../routing/causality.ts';
import { Link } from './link.ts';
import { type Placed, Placement } from './placement.ts';
import type { Services } from './services.ts';

/** ParameterStatus values a client is told at its login. */
export type LoginTemplate = ReadonlyMap<string, string>;

const MAX_TEMPLATES = 5000;

/**
 * The first login of a kind (database, user, settings) goes through a server: it says whether the database exists, the user may enter and the
 * settings are valid, and which parameters hold. Later ones need no server connection at all.
 */
export class LoginTemplates {
  readonly #services: Services;
  readonly #known = new Map<string, Map<SettingsSet, LoginTemplate>>();
  #size = 0;

  constructor(services: Services) {
    this.#services = services;
  }

  /**
   * @param done called once, perhaps at once
   * @returns how to give up waiting
   */
  get(
    database: string,
    identity: Identity,
    settings: SettingsSet,
    done: (template: LoginTemplate | null, error: FairleadError | null) => void,
  ): () => void {
    const key = `${database}\0${identity.user}`;
    const known = this.#known.get(key)?.get(settings);
    if (known !== undefined) {
      done(known, null);
      return () => {};
    }
    let primaryOnly = false;
    const placement: Placement = new Placement(this.#services, {
      placed: (where) =>
        this.#ask(where, settings, (template, error) => {
          if (template !== null) this.#remember(key, settings, template);
          else if (where.pool.key.purpose === 'ro') return askPrimary();
          done(template, error);
        }),
      unplaceable: (error) => {
        if (error instanceof LoginRefused && !primaryOnly) askPrimary();
        else done(null, error);
      },
    });
    // a replica may not have replayed yet that the database, the role or the privilege was created
    const askPrimary = () => {
      primaryOnly = true;
      placement.seek({ database, identity, read: null, reason: 'session state', readOnly: false, avoid: null });
    };
    // any node will do for asking; the primary when no replica is there
    placement.seek({
      database,
      identity,
      read: {
        consistency: 'eventual',
        maxStalenessMs: null,
        hint: null,
        causality: new Causality(),
        replicaReason: null,
      },
      reason: 'session state',
      readOnly: false,
      avoid: null,
    });
    return () => placement.abort();
  }

  #ask(
    where: Placed,
    settings: SettingsSet,
    done: (template: LoginTemplate | null, error: FairleadError | null) => void,
  ): void {
    const link = new Link(where, { clientPid: null, async() {}, closed() {} });
    link.apply(settings, (error) => {
      if (error !== null) {
        link.drop('settings refused');
        return done(
          null,
          new FairleadError('bad_parameter', error.message, 'correct the connection parameters (options, settings)'),
        );
      }
      const template = new Map(link.connection.parameters);
      // of a replica, or of our way of opening its connections: the session as a whole can write, unless it wants it otherwise
      if (!settings.values.has('default_transaction_read_only')) template.set('default_transaction_read_only', 'off');
      template.set('in_hot_standby', 'off');
      link.release();
      done(template, null);
    });
  }

  #remember(key: string, settings: SettingsSet, template: LoginTemplate): void {
    if (this.#size >= MAX_TEMPLATES) {
      this.#known.clear();
      this.#size = 0;
    }
    let ofKey = this.#known.get(key);
    if (ofKey === undefined) {
      ofKey = new Map();
      this.#known.set(key, ofKey);
    }
    ofKey.set(settings, template);
    this.#size++;
  }
}
