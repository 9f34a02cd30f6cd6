import type { Identity } from '../backend/pools.ts';
import { LoginRefused } from '../backend/server-login.ts';
import type { SettingsSet } from '../backend/settings-set.ts';
import { serverDatabase } from '../config/pool-settings.ts';
import { FairleadError } from '../core/errors.ts';
import { Causality } from '../routing/causality.ts';
import { Link } from './link.ts';
import { type Placed, Placement } from './placement.ts';
import type { Services } from './services.ts';

/** ParameterStatus values a client is told at its login. */
export type LoginTemplate = ReadonlyMap<string, string>;

/** Says a parameter otherwise; one that the server does not tell (these two before PostgreSQL 14) is not told either. */
export function retell(template: Map<string, string>, parameter: string, value: string): void {
  if (template.has(parameter)) template.set(parameter, value);
}

type Done = (template: LoginTemplate | null, error: FairleadError | null) => void;

const MAX_TEMPLATES = 5000;

/**
 * The first login of a kind (database, user, settings) goes through a server: it says whether the database exists, the user may enter and the
 * settings are valid, and which parameters hold. Later ones need no server connection at all.
 */
export class LoginTemplates {
  readonly #services: Services;
  /** By database and user; `objects` tells those, and what is set for them, from later ones of the same names. */
  readonly #known = new Map<
    string,
    { readonly objects: string | null; readonly of: Map<SettingsSet, LoginTemplate> }
  >();
  #size = 0;

  constructor(services: Services) {
    this.#services = services;
  }

  /**
   * @param done called once
   * @returns how to give up waiting
   */
  get(database: string, identity: Identity, settings: SettingsSet, done: Done): () => void {
    const { pools, config, logins } = this.#services;
    const role = pools.userOnServers(database, identity.user);
    let giveUp = () => {};
    let givenUp = false;
    void logins.of(serverDatabase(config(), database), role).then((facts) => {
      if (givenUp) return;
      const key = `${database}\0${identity.user}`;
      const objects = facts === null ? null : `${facts.database} ${facts.role} ${facts.defaults}`;
      const allowed = facts?.allowed !== false;
      const known = allowed ? this.#find(key, objects, settings) : undefined;
      if (known !== undefined) return done(known, null);
      // a new connection: what the server says to it is the answer
      const decided = !allowed || this.#differs(key, objects);
      if (decided) pools.refresh(database, identity);
      const remember = (template: LoginTemplate | null, error: FairleadError | null) => {
        if (template !== null && allowed) this.#remember(key, objects, settings, template);
        done(template, error);
      };
      giveUp = this.#seek(database, identity, settings, decided, remember);
    });
    return () => {
      givenUp = true;
      giveUp();
    };
  }

  /** @param decided the primary is to be asked, as far as there is one */
  #seek(database: string, identity: Identity, settings: SettingsSet, decided: boolean, done: Done): () => void {
    let primaryOnly = false;
    const placement: Placement = new Placement(this.#services, {
      placed: (where) =>
        this.#ask(where, settings, (template, error) => {
          if (template === null && where.pool.key.purpose === 'ro') return askPrimary();
          done(template, error);
        }),
      unplaceable: (error) => {
        const primary = this.#services.cluster.topology.value.primary !== null;
        if (error instanceof LoginRefused && !primaryOnly && primary) askPrimary();
        else done(null, error);
      },
    });
    // a replica may not have replayed yet that the database, the role or the privilege was created
    const askPrimary = () => {
      primaryOnly = true;
      placement.seek({
        database,
        identity,
        read: null,
        reason: 'session state',
        readOnly: false,
        rider: null,
        avoid: null,
      });
    };
    if (decided && this.#services.cluster.topology.value.primary !== null) {
      askPrimary();
      return () => placement.abort();
    }
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
        tables: null,
      },
      reason: 'session state',
      readOnly: false,
      rider: null,
      avoid: null,
    });
    return () => placement.abort();
  }

  #ask(where: Placed, settings: SettingsSet, done: Done): void {
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
      if (!settings.values.has('default_transaction_read_only'))
        retell(template, 'default_transaction_read_only', 'off');
      retell(template, 'in_hot_standby', 'off');
      link.release();
      done(template, null);
    });
  }

  #find(key: string, objects: string | null, settings: SettingsSet): LoginTemplate | undefined {
    const known = this.#known.get(key);
    // without an answer of a server what was true before is believed
    return known === undefined || (objects !== null && known.objects !== objects) ? undefined : known.of.get(settings);
  }

  /** True when connections of an earlier login would tell what holds no more. */
  #differs(key: string, objects: string | null): boolean {
    const before = this.#known.get(key)?.objects ?? null;
    return before !== null && objects !== null && before !== objects;
  }

  #remember(key: string, objects: string | null, settings: SettingsSet, template: LoginTemplate): void {
    if (this.#size >= MAX_TEMPLATES) {
      this.#known.clear();
      this.#size = 0;
    }
    let known = this.#known.get(key);
    if (known === undefined || known.objects !== objects) {
      this.#size -= known?.of.size ?? 0;
      known = { objects, of: new Map() };
      this.#known.set(key, known);
    }
    known.of.set(settings, template);
    this.#size++;
  }
}
