import type { Socket } from 'node:net';
import type { Identity } from '../backend/pools.ts';
import { NO_SETTINGS, type SettingsSet } from '../backend/settings-set.ts';
import { nowMs } from '../core/clock.ts';
import type { Expiring } from '../core/deadlines.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { CLIENT, STATUS } from '../wire/message-type.ts';
import type { Secret } from '../wire/secret.ts';
import { NEWEST_MINOR, negotiateVersion } from '../wire/startup.ts';
import { authenticationOk, backendKeyData, errorResponse, parameterStatus, readyForQuery } from '../wire/writer.ts';
import type { Admission } from './access.ts';
import { ifRoom, limitsOf, refusalOf, tooMany } from './admission.ts';
import { Authentication, type AuthStep } from './authentication.ts';
import { CONSOLE_DATABASES, CONSOLE_PARAMETERS, consoleRefusal } from './console-login.ts';
import type { LoginTemplate, LoginTemplates } from './login-templates.ts';
import { type Encryption, Opening, type Startup } from './opening.ts';
import { peerOf } from './peer.ts';
import { standbyTemplate } from './read-only-port.ts';
import {
  asksForPhysicalReplication,
  asksForReplication,
  closeReplication,
  openReplication,
} from './replication-login.ts';
import { ReplicationRelay } from './replication-relay.ts';
import type { Services } from './services.ts';
import type { CancelKey, Sessions, Where } from './sessions.ts';
import { type StartupSettings, startupSettings } from './startup-settings.ts';

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
  /** Where the client comes from; null: over a Unix socket. */
  readonly address: string | null;
  /** The client came in by the read-only port. */
  readonly readOnly: boolean;
  /** Client connections now, this one included. */
  clients(): number;
  /** One socket has taken the place of another: TLS lies on it. */
  encrypted(before: Socket, now: Socket): void;
  admit(client: Admitted): void;
  /** A client for the admin console; it has been told that it is ready for queries. */
  admitToConsole(client: Admitted): void;
};

/** Before authentication nothing longer than this is taken. */
const MAX_PASSWORD_BYTES = 64 * 1024;

/** One client from its first byte to its login, or to the end of its cancel request. */
export class Handshake implements Expiring {
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #host: HandshakeHost;
  readonly #opening: Opening;
  #socket: Socket;
  #reader: FrameReader | null = null;
  #startup: Startup | null = null;
  #ended = false;
  /** The place it has taken, which is its own to give back until it has become a session. */
  #entered: Where | null = null;
  #giveUp: () => void = () => {};
  readonly #onData = (chunk: Buffer) => this.#reader?.feed(chunk);
  readonly #onEnd = () => this.#stop();

  constructor(socket: Socket, host: HandshakeHost) {
    this.#socket = socket;
    this.#host = host;
    this.#opening = new Opening(socket, {
      tls: host.services.clientTls,
      encrypted: (secured) => this.#encrypted(secured),
      startup: (packet, encryption, rest) => this.#begin(packet, encryption, rest),
      cancel: (pid, secret) => this.#cancel(pid, secret),
      failed: (error) => this.#fail(error),
      broken: (reason) => {
        host.services.log.debug({ from: peerOf(socket), reason }, 'connection of a client not accepted');
        this.#stop();
      },
    });
  }

  start(): void {
    const { services } = this.#host;
    services.deadlines.set(this, nowMs() + services.config().pool.startup_timeout);
    this.#listen();
    this.#opening.start();
  }

  expire(): void {
    this.#fail(new FairleadError('startup_timeout', 'no login in time'));
  }

  /** Ends it from outside. */
  stop(): void {
    this.#stop();
  }

  /** The client is told that it was passed on by the end of the connection. */
  #cancel(pid: number, secret: Buffer): void {
    const { sessions, services } = this.#host;
    if (sessions.isElsewhere(pid)) {
      void services.neighbours.cancel(pid, secret).finally(() => this.#stop());
      return;
    }
    sessions.cancel(pid, secret);
    this.#stop();
  }

  #encrypted(secured: Socket): void {
    this.#unlisten();
    this.#host.encrypted(this.#socket, secured);
    this.#socket = secured;
    this.#listen();
  }

  #begin(packet: Startup, encryption: Encryption | null, rest: Buffer): void {
    const { services } = this.#host;
    const { parameters } = packet;
    this.#startup = packet;
    const user = parameters.get('user') ?? '';
    if (user === '') {
      const text = 'no PostgreSQL user name specified in startup packet';
      return this.#fail(new FairleadError('access_denied', text, 'name the user'));
    }
    // whoever may help is let in beyond the limit, as with PgBouncer
    if (CONSOLE_DATABASES.has(this.#database())) return this.#greet(packet, user, encryption, rest);
    this.#socket.pause();
    ifRoom(services, this.#host.clients(), (refusal) => {
      if (refusal === null) this.#greet(packet, user, encryption, rest);
      else this.#fail(refusal);
    });
  }

  #greet(packet: Startup, user: string, encryption: Encryption | null, rest: Buffer): void {
    if (this.#ended) return;
    const { parameters } = packet;
    const unknown = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
    if (packet.minor > NEWEST_MINOR || unknown.length > 0) {
      this.#socket.write(negotiateVersion(Math.min(packet.minor, NEWEST_MINOR), unknown));
    }
    // what came behind the packet waits: under trust it is the client's first request
    const reader = this.#passwordReader();
    reader.stop();
    if (rest.length > 0) reader.feed(rest);
    this.#reader = reader;
    this.#socket.on('data', this.#onData);
    // nothing is read while the client has to wait, or it could fill our memory
    this.#socket.pause();
    void this.#challenge(user, encryption).catch((error) => this.#refuse(error));
  }

  /** The rules of access say how the client has to prove who it is. @throws FairleadError */
  async #challenge(user: string, encryption: Encryption | null): Promise<void> {
    const { services } = this.#host;
    const { parameters } = this.#startup as Startup;
    const database = this.#database();
    const method = services.access.judge(
      {
        address: this.#host.address,
        encrypted: encryption !== null,
        database,
        user,
        replication: asksForPhysicalReplication(parameters),
      },
      encryption?.certificate ?? null,
    );
    const secret = await this.#secretOf(database, user, method);
    if (this.#ended) return;
    const authentication = new Authentication({
      user,
      method,
      secret,
      binding: encryption?.binding ?? null,
      seed: services.clientTls.seed,
    });
    this.#answer = (payload) => authentication.receive(payload);
    this.#step(authentication.start());
  }

  /** What is not needed to let the client in may be unknown. @throws FairleadError */
  async #secretOf(database: string, user: string, method: Admission): Promise<Secret | null> {
    const { services } = this.#host;
    const unneeded = method === 'trust' || method === 'cert';
    const found = await services.credentials.lookup(database, user).catch((error) => {
      // the console is for the time when nothing answers, too
      if (unneeded || CONSOLE_DATABASES.has(database)) return null;
      throw error;
    });
    const { user: control, password } = services.config().cluster;
    // the control user may always enter the console; and where no password is asked for, ours lets it in to the servers
    const own = user === control && (unneeded || CONSOLE_DATABASES.has(database)) && password !== null;
    return found ?? (own ? { kind: 'plain', password } : null);
  }

  #answer: (payload: Buffer) => Promise<AuthStep> = async () => {
    throw new FairleadError('protocol_violation', 'a password that was not asked for');
  };

  #passwordReader(): FrameReader {
    const violation = (reason: string) => this.#fail(new FairleadError('protocol_violation', reason));
    return new FrameReader(
      {
        message: (type, buffer, start, end) => {
          if (type !== CLIENT.PASSWORD) violation('expected a password message');
          else {
            this.#socket.pause();
            this.#answer(Buffer.from(buffer.subarray(start + 5, end))).then(
              (step) => this.#step(step),
              (error) => this.#refuse(error),
            );
          }
          return false;
        },
        piece: () => {
          violation('password message too long');
          return false;
        },
        violation,
      },
      MAX_PASSWORD_BYTES,
    );
  }

  #database(): string {
    const { parameters } = this.#startup as Startup;
    return parameters.get('database') || (parameters.get('user') as string);
  }

  #step(step: AuthStep): void {
    if (this.#ended) return;
    if (step.bytes !== null) this.#socket.write(step.bytes);
    if (step.kind === 'done') return this.#logIn(step.identity);
    this.#socket.resume();
    this.#reader?.resume();
  }

  /** Who or what did not prove itself. */
  #refuse(cause: unknown): void {
    if (this.#ended) return;
    const error = cause instanceof FairleadError ? cause : new FairleadError('internal', messageOf(cause));
    const { services } = this.#host;
    const user = this.#startup?.parameters.get('user') ?? '';
    if (error.code === 'auth_failed') services.credentials.failed(user);
    const facts = { user, database: this.#database(), from: peerOf(this.#socket), error: error.message };
    services.log.info(facts, 'login refused');
    // what is wrong among the servers is for the log: nobody has proved anything yet
    const hidden = error.code === 'lookup_failed';
    this.#fail(hidden ? new FairleadError('lookup_failed', 'it cannot be found out now who may log in') : error);
  }

  #logIn(proved: Identity): void {
    const database = this.#database();
    if (CONSOLE_DATABASES.has(database)) return this.#enterConsole(proved, database);
    const { services, sessions } = this.#host;
    const { parameters } = this.#startup as Startup;
    const where = { database: asksForPhysicalReplication(parameters) ? '' : database, user: proved.user };
    const refusal = refusalOf(services, sessions, where);
    if (refusal !== null) return this.#fail(refusal);
    const limits = limitsOf(services.config(), where);
    services.neighbours.enter(where, limits, (reached) => {
      if (reached !== null) return this.#fail(tooMany(reached, where, limits));
      if (this.#ended) return services.neighbours.leave(where);
      this.#entered = where;
      const identity = services.pools.admit(proved);
      if (asksForReplication(parameters)) this.#enterReplication(identity, database, where);
      else this.#enter(identity, where);
    });
  }

  #enter(identity: Identity, where: Where): void {
    const { services, sessions } = this.#host;
    const { database } = where;
    let read: StartupSettings;
    try {
      read = startupSettings((this.#startup as Startup).parameters);
    } catch (error) {
      return this.#fail(error as FairleadError);
    }
    const { settings, options } = read;
    this.#giveUp = this.#host.templates.get(database, identity, settings, (template, error) => {
      if (this.#ended) return;
      if (template === null) return this.#fail(error as FairleadError);
      // others may have come in while a server was asked
      const late = refusalOf(services, sessions, where);
      if (late !== null) return this.#fail(late);
      this.#finish(this.#host.readOnly ? standbyTemplate(template) : template, (key, rest) => {
        const superuser = template.get('is_superuser') === 'on';
        this.#entered = null;
        this.#host.admit({ socket: this.#socket, identity, database, key, settings, options, superuser, rest });
      });
    });
  }

  #enterReplication(identity: Identity, database: string, where: Where): void {
    const { services, sessions } = this.#host;
    const { parameters } = this.#startup as Startup;
    this.#giveUp = openReplication(services, { database, identity, parameters }, (opened, error) => {
      if (opened === null) return this.#fail(error as FairleadError);
      const { node, login } = opened;
      const late = refusalOf(services, sessions, where);
      if (late !== null) {
        closeReplication(opened);
        return this.#fail(late);
      }
      this.#finish(login.parameters, (key, rest) => {
        const relay = new ReplicationRelay(this.#socket, login, () => remove());
        this.#entered = null;
        const remove = sessions.addStream(key, where, relay);
        relay.start(node, services.cluster, rest);
      });
    });
  }

  #enterConsole(identity: Identity, database: string): void {
    const refusal = consoleRefusal(this.#host.services.config(), identity.user);
    if (refusal !== null) return this.#fail(refusal);
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
    const key = sessions.newKey((this.#startup as Startup).minor);
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
    // in the middle of a TLS handshake there is no way to say it
    if (!this.#opening.isEncrypting) {
      this.#socket.write(errorResponse('FATAL', sqlState, error.message, error.remedy));
    }
    this.#stop();
  }

  #stop(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#giveUp();
    this.#opening.stop();
    const { deadlines, neighbours } = this.#host.services;
    deadlines.clear(this);
    if (this.#entered !== null) neighbours.leave(this.#entered);
    this.#reader?.end();
    this.#unlisten();
    this.#socket.on('error', () => {});
    if (this.#opening.isEncrypting) this.#socket.destroy();
    else this.#socket.destroySoon();
  }

  #listen(): void {
    this.#socket.on('error', this.#onEnd);
    this.#socket.on('end', this.#onEnd);
    this.#socket.on('close', this.#onEnd);
  }

  #unlisten(): void {
    this.#socket.off('data', this.#onData);
    this.#socket.off('error', this.#onEnd);
    this.#socket.off('end', this.#onEnd);
    this.#socket.off('close', this.#onEnd);
  }
}
