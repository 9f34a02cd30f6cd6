import type { Identity } from '../backend/pools.ts';
import type { Config } from '../config/config.ts';
import { FairleadError } from '../core/errors.ts';
import { stringEnd } from '../wire/fields.ts';
import { MECHANISM, mockVerifier, ScramServer, type Verifier } from '../wire/scram.ts';
import { type Secret, verifierOf } from '../wire/secret.ts';
import { authenticationSasl, authenticationSaslContinue, authenticationSaslFinal } from '../wire/writer.ts';

/** What to do next in a login: send something and wait, let the client in, or refuse it. */
export type AuthStep =
  | { readonly kind: 'send'; readonly bytes: Buffer }
  | { readonly kind: 'done'; readonly bytes: Buffer | null; readonly identity: Identity }
  | { readonly kind: 'refused'; readonly error: FairleadError };

/** One client proving who it is. An unknown user goes through the same motions, with the same answer at the end. */
export class Authentication {
  readonly #user: string;
  readonly #secret: Secret | null;
  readonly #trust: boolean;
  #scram: ScramServer | null = null;
  #verifier: Verifier | null = null;

  /**
   * @param found what is known of the user
   * @param console the admin console, which the control user may enter as well
   */
  constructor(config: Config, user: string, found: Secret | null, console: boolean) {
    this.#user = user;
    this.#trust = config.auth.type === 'trust';
    const { password } = config.cluster;
    const own = user === config.cluster.user && (console || this.#trust) && password !== null;
    // under trust a user need not be known: the control user is anyway, all others log in to the servers without a password
    this.#secret = found ?? (own ? { kind: 'plain', password } : null);
  }

  start(): AuthStep {
    if (this.#trust) return { kind: 'done', bytes: null, identity: this.#identity(null) };
    return { kind: 'send', bytes: authenticationSasl([MECHANISM]) };
  }

  /** A password message ('p'), payload from `start` to `end`. */
  receive(buffer: Buffer, start: number, end: number): AuthStep {
    return this.#scram === null ? this.#first(buffer, start, end) : this.#final(buffer, start, end);
  }

  #first(buffer: Buffer, start: number, end: number): AuthStep {
    const nameEnd = stringEnd(buffer, start, end);
    if (nameEnd === -1 || buffer.toString('latin1', start, nameEnd) !== MECHANISM || end < nameEnd + 5) {
      return {
        kind: 'refused',
        error: new FairleadError('protocol_violation', 'the client chose no SASL mechanism that was offered'),
      };
    }
    this.#verifier = verifierFor(this.#secret) ?? mockVerifier(this.#user);
    this.#scram = new ScramServer(this.#verifier);
    const answer = this.#scram.first(buffer.toString('utf8', nameEnd + 5, end));
    if (answer === null)
      return { kind: 'refused', error: new FairleadError('protocol_violation', 'malformed SCRAM message') };
    return { kind: 'send', bytes: authenticationSaslContinue(answer) };
  }

  #final(buffer: Buffer, start: number, end: number): AuthStep {
    const proved = (this.#scram as ScramServer).final(buffer.toString('utf8', start, end));
    if (proved === null || this.#secret === null) {
      return {
        kind: 'refused',
        error: new FairleadError('auth_failed', `password authentication failed for user "${this.#user}"`),
      };
    }
    return { kind: 'done', bytes: authenticationSaslFinal(proved.message), identity: this.#identity(proved.clientKey) };
  }

  /** A verifier alone cannot log in to a server; with the key that the client has just proved it can. */
  #identity(clientKey: Buffer | null): Identity {
    const user = this.#user;
    if (this.#secret === null) return { user, secret: null };
    if (this.#secret.kind === 'plain') return { user, secret: { kind: 'password', password: this.#secret.password } };
    if (this.#secret.kind === 'md5') return { user, secret: this.#secret };
    if (clientKey === null) return { user, secret: null };
    return { user, secret: { kind: 'key', clientKey, verifier: this.#secret.verifier } };
  }
}

/** What SCRAM checks the secret with; null where it cannot. */
function verifierFor(secret: Secret | null): Verifier | null {
  if (secret === null || secret.kind === 'md5') return null;
  return secret.kind === 'scram' ? secret.verifier : verifierOf(secret.password);
}
