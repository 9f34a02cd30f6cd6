import type { Socket } from 'node:net';
import type { Identity } from '../backend/pools.ts';
import { NO_SETTINGS, type SettingsSet, settingsSet } from '../backend/settings-set.ts';
import { nowMs } from '../core/clock.ts';
import type { Expiring } from '../core/deadlines.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { Causality } from '../routing/causality.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { CLIENT, STATUS } from '../wire/message-type.ts';
import { MAX_STARTUP_BYTES, negotiateVersion, readOptions, readStartup, type StartupPacket } from '../wire/startup.ts';
import { authenticationOk, backendKeyData, errorResponse, parameterStatus, readyForQuery } from '../wire/writer.ts';
import { refusalOf } from './admission.ts';
import { Authentication, type AuthStep } from './authentication.ts';
import type { LoginTemplate, LoginTemplates } from './login-templates.ts';
import { standbyTemplate } from './read-only-port.ts';
import { asksForReplication, openReplication } from './replication-login.ts';
import { ReplicationRelay } from './replication-relay.ts';
import type { Services } from './services.ts';
import { SessionOptions } from './session-options.ts';
import type { CancelKey, Sessions } from './sessions.ts';

/** A client that has proved who it is. */
export type Admitted = {
  readonly socket: Socket;
  readonly identity: Identity;
  readonly database: string;
  readonly key: CancelKey;
  readonly settings: SettingsSet;
  /** `fairlead.*` settings of the startup packet. */
  readonly options: readonly (readonly [string, string])[];
  /** The role is a superuser on the servers. */
  readonly superuser: boolean;
  /** Bytes that came behind the login. */
  readonly rest: Buffer | null;
};

export type HandshakeHost = {
  readonly services: Services;
  readonly sessions: Sessions;
  readonly templates: LoginTemplates;
  /** The client came in by the read-only port. */
  readonly readOnly: boolean;
  /** Client connections now, this one included. */
  clients(): number;
  admit(client: Admitted): void;
  /** A client for the admin console; it has been told that it is ready for queries. */
  admitToConsole(client: Admitted): void;
};

/** Databases that are the admin console. */
export const CONSOLE_DATABASES: ReadonlySet<string> = new Set(['fairlead', 'pgbouncer']);
const CONSOLE_PARAMETERS: LoginTemplate = new Map([
  ['server_version', '18.0 (fairlead)'],
  ['client_encoding', 'UTF8'],
  ['server_encoding', 'UTF8'],
  ['DateStyle', 'ISO, MDY'],
  ['TimeZone', 'UTC'],
  ['integer_datetimes', 'on'],
  ['standard_conforming_strings', 'on'],
]);

/** Before authentication nothing longer than this is taken. */
const MAX_PASSWORD_BYTES = 64 * 1024;
const REFUSED = Buffer.from('N');

/** One client from its first byte to its login, or to the end of its cancel request. */
export class Handshake implements Expiring {
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #socket: Socket;
  readonly #host: HandshakeHost;
  #received: Buffer = Buffer.alloc(0);
  #reader: FrameReader | null = null;
  #authentication: Authentication | null = null;
  #startup: (StartupPacket & { kind: 'startup' }) | null = null;
  #ended = false;
  #giveUp: () => void = () => {};
  readonly #onData = (chunk: Buffer) => this.#data(chunk);
  readonly #onEnd = () => this.#stop();

  constructor(socket: Socket, host: HandshakeHost) {
    this.#socket = socket;
    this.#host = host;
  }

  start(): void {
    const { services } = this.#host;
    services.deadlines.set(this, nowMs() + services.config().pool.startup_timeout);
    this.#socket.on('data', this.#onData);
    this.#socket.on('error', this.#onEnd);
    this.#socket.on('end', this.#onEnd);
    this.#socket.on('close', this.#onEnd);
  }

  expire(): void {
    this.#fail(new FairleadError('startup_timeout', 'no login in time'));
  }

  /** Ends it from outside. */
  stop(): void {
    this.#stop();
  }

  #data(chunk: Buffer): void {
    if (this.#ended) return;
    if (this.#reader !== null) return this.#reader.feed(chunk);
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    while (!this.#ended && this.#reader === null && this.#received.length >= 4) {
      const length = this.#received.readInt32BE(0);
      if (length < 8 || length > MAX_STARTUP_BYTES) {
        return this.#fail(new FairleadError('protocol_violation', 'invalid length of startup packet'));
      }
      if (this.#received.length < length) return;
      const packet = readStartup(this.#received.subarray(0, length));
      this.#received = this.#received.subarray(length);
      this.#packet(packet);
    }
  }

  #packet(packet: StartupPacket): void {
    switch (packet.kind) {
      case 'ssl':
      case 'gss':
        // bytes that were sent before our answer could be smuggled past the encryption that follows it elsewhere
        if (this.#received.length > 0) {
          return this.#fail(
            new FairleadError('protocol_violation', 'received unencrypted data after an encryption request'),
          );
        }
        this.#socket.write(REFUSED);
        return;
      case 'cancel':
        this.#host.sessions.cancel(packet.pid, packet.secret);
        return this.#stop();
      case 'invalid':
        return this.#fail(new FairleadError('protocol_violation', packet.reason));
      case 'startup':
        return this.#begin(packet);
    }
  }

  #begin(packet: StartupPacket & { kind: 'startup' }): void {
    const { services } = this.#host;
    const { parameters } = packet;
    const user = parameters.get('user') ?? '';
    if (user === '')
      return this.#fail(new FairleadError('auth_failed', 'no PostgreSQL user name specified in startup packet'));
    if (this.#host.clients() > services.config().pool.max_clients) {
      return this.#fail(new FairleadError('too_many_clients', 'sorry, too many clients already'));
    }
    const unknown = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
    if (packet.minor > 0 || unknown.length > 0) this.#socket.write(negotiateVersion(0, unknown));
    this.#startup = packet;
    this.#reader = new FrameReader(
      {
        message: (type, buffer, start, end) => {
          if (type !== CLIENT.PASSWORD)
            this.#fail(new FairleadError('protocol_violation', 'expected a password message'));
          else this.#step((this.#authentication as Authentication).receive(buffer, start + 5, end));
          return !this.#ended;
        },
        piece: () => {
          this.#fail(new FairleadError('protocol_violation', 'password message too long'));
          return false;
        },
        violation: (reason) => this.#fail(new FairleadError('protocol_violation', reason)),
      },
      MAX_PASSWORD_BYTES,
    );
    // what came behind the packet waits: under trust it is the client's first request
    this.#reader.stop();
    if (this.#received.length > 0) this.#reader.feed(this.#received);
    this.#received = Buffer.alloc(0);
    void this.#challenge(user, this.#database());
  }

  /** What is known of the user decides how it proves who it is. */
  async #challenge(user: string, database: string): Promise<void> {
    const { services } = this.#host;
    const trust = services.config().auth.type === 'trust';
    try {
      const secret = await services.credentials.lookup(database, user).catch((error) => {
        if (trust) return null;
        throw error;
      });
      if (this.#ended) return;
      this.#authentication = new Authentication(services.config(), user, secret, CONSOLE_DATABASES.has(database));
      const step = this.#authentication.start();
      this.#step(step);
      if (step.kind === 'send') this.#reader?.resume();
    } catch (error) {
      this.#fail(error instanceof FairleadError ? error : new FairleadError('internal', messageOf(error)));
    }
  }

  #database(): string {
    const parameters = (this.#startup as StartupPacket & { kind: 'startup' }).parameters;
    return parameters.get('database') || (parameters.get('user') as string);
  }

  #step(step: AuthStep): void {
    switch (step.kind) {
      case 'send':
        this.#socket.write(step.bytes);
        return;
      case 'refused':
        this.#host.services.credentials.failed(this.#startup?.parameters.get('user') ?? '');
        return this.#fail(step.error);
      case 'done':
        if (step.bytes !== null) this.#socket.write(step.bytes);
        return this.#logIn(step.identity);
    }
  }

  #logIn(identity: Identity): void {
    // nothing is read until the client is told that it is ready
    this.#socket.pause();
    this.#reader?.stop();
    const database = this.#database();
    if (CONSOLE_DATABASES.has(database)) return this.#enterConsole(identity, database);
    const { services, sessions } = this.#host;
    const refusal = refusalOf(services, sessions, database, identity.user);
    if (refusal !== null) return this.#fail(refusal);
    const { parameters } = this.#startup as StartupPacket & { kind: 'startup' };
    if (asksForReplication(parameters)) return this.#enterReplication(identity, database, parameters);
    let read: StartupSettings;
    try {
      read = startupSettings(parameters);
    } catch (error) {
      return this.#fail(error as FairleadError);
    }
    const { settings, options } = read;
    services.pools.admit(identity);
    this.#giveUp = this.#host.templates.get(database, identity, settings, (template, error) => {
      if (this.#ended) return;
      if (template === null) return this.#fail(error as FairleadError);
      this.#finish(this.#host.readOnly ? standbyTemplate(template) : template, (key, rest) => {
        const superuser = template.get('is_superuser') === 'on';
        this.#host.admit({ socket: this.#socket, identity, database, key, settings, options, superuser, rest });
      });
    });
  }

  #enterReplication(identity: Identity, database: string, parameters: ReadonlyMap<string, string>): void {
    const { services, sessions } = this.#host;
    this.#giveUp = openReplication(services, { database, identity, parameters }, (opened, error) => {
      if (opened === null) return this.#fail(error as FairleadError);
      const { node, login } = opened;
      this.#finish(login.parameters, (key, rest) => {
        const relay = new ReplicationRelay(this.#socket, login, () => remove());
        const remove = sessions.addCancellable(key, relay);
        relay.start(node, services.cluster, rest);
      });
    });
  }

  #enterConsole(identity: Identity, database: string): void {
    const { auth, cluster } = this.#host.services.config();
    if (identity.user !== cluster.user && ![...auth.admins, ...auth.stats_users].includes(identity.user)) {
      return this.#fail(
        new FairleadError(
          'auth_failed',
          `user "${identity.user}" may not use the admin console`,
          'list it under auth.admins or auth.stats_users',
        ),
      );
    }
    this.#finish(CONSOLE_PARAMETERS, (key, rest) => {
      this.#host.admitToConsole({
        socket: this.#socket,
        identity,
        database,
        key,
        settings: NO_SETTINGS,
        options: [],
        superuser: false,
        rest,
      });
    });
  }

  #finish(template: LoginTemplate, admit: (key: CancelKey, rest: Buffer | null) => void): void {
    const { services, sessions } = this.#host;
    services.deadlines.clear(this);
    this.#ended = true;
    this.#unlisten();
    const key = sessions.newKey();
    const parts = [authenticationOk()];
    for (const [name, value] of template) parts.push(parameterStatus(name, value));
    parts.push(backendKeyData(key.pid, key.secret), readyForQuery(STATUS.IDLE));
    this.#socket.write(Buffer.concat(parts));
    admit(key, this.#reader?.takeBacklog() ?? null);
    this.#socket.resume();
  }

  #fail(error: FairleadError): void {
    if (this.#ended) return;
    // a server's own refusal is passed on as it is
    const sqlState = (error as { serverState?: string }).serverState ?? error.sqlState;
    this.#socket.write(errorResponse('FATAL', sqlState, error.message, error.remedy));
    this.#stop();
  }

  #stop(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#giveUp();
    this.#host.services.deadlines.clear(this);
    this.#reader?.end();
    this.#unlisten();
    this.#socket.on('error', () => {});
    this.#socket.destroySoon();
  }

  #unlisten(): void {
    this.#socket.off('data', this.#onData);
    this.#socket.off('error', this.#onEnd);
    this.#socket.off('end', this.#onEnd);
    this.#socket.off('close', this.#onEnd);
  }
}

type StartupSettings = { readonly settings: SettingsSet; readonly options: (readonly [string, string])[] };

const NOT_SETTINGS = new Set(['user', 'database', 'options', 'replication']);
const UTF8 = /^['"]?(utf-?8|unicode|auto)['"]?$/i;

/** @throws FairleadError bad_parameter */
function startupSettings(parameters: ReadonlyMap<string, string>): StartupSettings {
  const given = readOptions(parameters.get('options') ?? '');
  if (given === null) {
    throw new FairleadError(
      'bad_parameter',
      'connection parameter options has more than settings',
      'write -c name=value only',
    );
  }
  const values = new Map<string, string>();
  const options: (readonly [string, string])[] = [];
  for (const [written, value] of [...parameters].filter(([name]) => !NOT_SETTINGS.has(name)).concat([...given])) {
    const name = written.toLowerCase();
    if (name.startsWith('_pq_.')) continue;
    if (name.startsWith('fairlead.')) options.push([name.slice('fairlead.'.length), value]);
    // what server connections have anyway
    else if (name !== 'client_encoding' || !UTF8.test(value)) values.set(name, value);
  }
  const probe = new SessionOptions();
  for (const [name, value] of options) {
    if (name !== 'token') probe.set(name, value, false);
    else if (!Causality.isToken(value)) throw new FairleadError('bad_parameter', `invalid token "${value}"`);
  }
  return { settings: settingsSet(values), options };
}
