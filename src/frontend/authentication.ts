import { randomBytes } from 'node:crypto';
import type { Identity } from '../backend/pools.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import { stringEnd } from '../wire/fields.ts';
import {
  ITERATIONS,
  MECHANISM,
  MECHANISM_PLUS,
  mockVerifier,
  passwordFits,
  ScramServer,
  saltFor,
  type Verifier,
} from '../wire/scram.ts';
import { md5Answer, md5Hash, type Secret, sameText } from '../wire/secret.ts';
import {
  authenticationCleartext,
  authenticationMd5,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from '../wire/writer.ts';
import type { Admission } from './access.ts';
import { derivedVerifier } from './derived-verifier.ts';

/** What to do next in a login: send something and wait, or let the client in. */
export type AuthStep =
  | { readonly kind: 'send'; readonly bytes: Buffer }
  | { readonly kind: 'done'; readonly bytes: Buffer | null; readonly identity: Identity };

export type AuthRequest = {
  readonly user: string;
  readonly method: Admission;
  /** Null: there is no such user, or none that may log in with a password. */
  readonly secret: Secret | null;
  /** Where the connection can be bound to: SCRAM-SHA-256-PLUS is offered. */
  readonly binding: Buffer | null;
  /** What the salts of users without a verifier are made of. */
  readonly seed: Buffer;
};

type Challenge = 'none' | 'cleartext' | 'md5' | 'scram';

/** A refusal takes at least so long: what it costs to find out that a password is wrong, or that there is no such user, must not show. */
const REFUSAL_MS = 50;

/** What the last user that exists was asked under `md5`, where it depends on how passwords are stored: others are asked the same. */
let usualChallenge: Challenge = 'scram';

/** One client proving who it is. An unknown user goes through the same motions, with the same answer at the end. */
export class Authentication {
  readonly #request: AuthRequest;
  readonly #challenge: Challenge;
  readonly #salt = randomBytes(4);
  #mechanism = '';
  #scram: ScramServer | null = null;

  constructor(request: AuthRequest) {
    this.#request = request;
    this.#challenge = challengeFor(request);
  }

  start(): AuthStep {
    switch (this.#challenge) {
      case 'none':
        return { kind: 'done', bytes: null, identity: this.#identity(null) };
      case 'cleartext':
        return { kind: 'send', bytes: authenticationCleartext() };
      case 'md5':
        return { kind: 'send', bytes: authenticationMd5(this.#salt) };
      case 'scram':
        return { kind: 'send', bytes: authenticationSasl(this.#mechanisms) };
    }
  }

  /**
   * A password message ('p').
   * @param payload is kept
   * @throws FairleadError auth_failed, protocol_violation, access_denied, unsupported
   */
  async receive(payload: Buffer): Promise<AuthStep> {
    const untilMs = nowMs() + REFUSAL_MS;
    const step = await this.#answer(payload);
    if (step !== null) return step;
    await sleep(untilMs - nowMs());
    throw new FairleadError('auth_failed', `password authentication failed for user "${this.#request.user}"`);
  }

  get #mechanisms(): readonly string[] {
    return this.#request.binding === null ? [MECHANISM] : [MECHANISM_PLUS, MECHANISM];
  }

  /** Null: it is not who it says. */
  async #answer(payload: Buffer): Promise<AuthStep | null> {
    if (this.#challenge === 'scram')
      return this.#scram === null ? this.#first(payload) : this.#final(payload, this.#scram);
    if (stringEnd(payload, 0, payload.length) !== payload.length - 1) throw violation('invalid password packet');
    const given = payload.toString('utf8', 0, payload.length - 1);
    if (this.#challenge === 'md5') {
      const right = sameText(given, md5Answer(this.#md5(), this.#salt)) && this.#request.secret !== null;
      return right ? { kind: 'done', bytes: null, identity: this.#identity(null) } : null;
    }
    if (!(await this.#fits(given))) return null;
    return {
      kind: 'done',
      bytes: null,
      identity: { user: this.#request.user, secret: { kind: 'password', password: given } },
    };
  }

  /** What the md5 hash of the password must be; of a user that does not exist, nobody knows. */
  #md5(): string {
    const { user, secret } = this.#request;
    if (secret?.kind === 'md5') return secret.hash;
    return md5Hash(secret?.kind === 'plain' ? secret.password : randomBytes(16).toString('hex'), user);
  }

  /** A password in clear text. An empty one is none. */
  async #fits(given: string): Promise<boolean> {
    const { user, secret, seed } = this.#request;
    if (secret === null) return (await passwordFits(given, mockVerifier(user, seed))) && false;
    if (given === '') return false;
    if (secret.kind === 'scram') return passwordFits(given, secret.verifier);
    return secret.kind === 'md5' ? sameText(md5Hash(given, user), secret.hash) : sameText(given, secret.password);
  }

  /** SASLInitialResponse: mechanism, length, data; or the data alone, when it was left out there. */
  #first(payload: Buffer): AuthStep {
    if (this.#mechanism !== '') return this.#clientFirst(payload.toString('utf8'));
    const nameEnd = stringEnd(payload, 0, payload.length);
    const mechanism = nameEnd === -1 ? '' : payload.toString('latin1', 0, nameEnd);
    if (!this.#mechanisms.includes(mechanism))
      throw violation('client selected an invalid SASL authentication mechanism');
    this.#mechanism = mechanism;
    const data = nameEnd + 5;
    const length = payload.length < data ? 0 : payload.readInt32BE(nameEnd + 1);
    if (length === -1 && payload.length === data) return { kind: 'send', bytes: authenticationSaslContinue('') };
    if (length !== payload.length - data) throw violation('SASLInitialResponse of a wrong length');
    return this.#clientFirst(payload.toString('utf8', data));
  }

  #clientFirst(text: string): AuthStep {
    const { binding, user, secret, seed } = this.#request;
    const shown = secret?.kind === 'scram' ? secret.verifier : { salt: saltFor(user, seed), iterations: ITERATIONS };
    this.#scram = new ScramServer(shown, { binding, plus: this.#mechanism === MECHANISM_PLUS });
    return { kind: 'send', bytes: authenticationSaslContinue(this.#scram.first(text)) };
  }

  async #final(payload: Buffer, scram: ScramServer): Promise<AuthStep | null> {
    const proved = scram.final(payload.toString('utf8'), await this.#verifier());
    if (proved === null) return null;
    return { kind: 'done', bytes: authenticationSaslFinal(proved.message), identity: this.#identity(proved.clientKey) };
  }

  /** An md5 hash says nothing about what SCRAM proves: such a user is refused as an unknown one is, as with PostgreSQL. */
  async #verifier(): Promise<Verifier> {
    const { user, secret, seed } = this.#request;
    if (secret?.kind === 'plain') return derivedVerifier(secret.password, saltFor(user, seed));
    return secret?.kind === 'scram' ? secret.verifier : mockVerifier(user, seed);
  }

  /** A verifier alone cannot log in to a server; with the key that the client has just proved it can. */
  #identity(clientKey: Buffer | null): Identity {
    const { user, secret } = this.#request;
    if (secret === null) return { user, secret: null };
    if (secret.kind === 'plain') return { user, secret: { kind: 'password', password: secret.password } };
    if (secret.kind === 'md5') return { user, secret };
    if (clientKey === null) return { user, secret: null };
    return { user, secret: { kind: 'key', clientKey, verifier: secret.verifier } };
  }
}

function challengeFor({ method, secret }: AuthRequest): Challenge {
  switch (method) {
    case 'trust':
    case 'cert':
      return 'none';
    case 'password':
      return 'cleartext';
    case 'scram-sha-256':
      return 'scram';
    case 'md5':
      // what is stored as a verifier cannot be checked by md5
      if (secret !== null) usualChallenge = secret.kind === 'scram' ? 'scram' : 'md5';
      return usualChallenge;
  }
}

function violation(what: string): FairleadError {
  return new FairleadError('protocol_violation', what);
}
