/** SCRAM-SHA-256, both sides. RFC 5802, RFC 7677; https://www.postgresql.org/docs/18/sasl-authentication.html */
import { createHash, createHmac, pbkdf2, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { FairleadError } from '../core/errors.ts';

const pbkdf2Async = promisify(pbkdf2);

export const ITERATIONS = 4096;
export const MECHANISM = 'SCRAM-SHA-256';
export const MECHANISM_PLUS = 'SCRAM-SHA-256-PLUS';

const hmac = (key: Buffer, text: string | Buffer) => createHmac('sha256', key).update(text).digest();
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest();

function xor(a: Buffer, b: Buffer): Buffer {
  const out = Buffer.allocUnsafe(a.length);
  for (let i = 0; i < a.length; i++) out[i] = (a[i] as number) ^ (b[i] as number);
  return out;
}

/** What `pg_authid.rolpassword` holds: enough to check a client, not enough to log in anywhere. */
export type Verifier = {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
};

/** What logs in to a server: a password, or the key learnt from a client that proved it. */
export type ScramSecret =
  | { readonly kind: 'password'; readonly password: string }
  | { readonly kind: 'key'; readonly clientKey: Buffer; readonly verifier: Verifier };

/** `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`; null when it is not of that form. */
export function parseVerifier(text: string): Verifier | null {
  const match = /^SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/.exec(text);
  if (match === null) return null;
  const [salt, storedKey, serverKey] = [match[2], match[3], match[4]].map((s) => Buffer.from(s as string, 'base64'));
  if (storedKey?.length !== 32 || serverKey?.length !== 32 || salt === undefined) return null;
  return { iterations: Number(match[1]), salt, storedKey, serverKey };
}

/** NFKC where the password allows it, as SASLprep does for all but exotic strings. */
function prepared(password: string): Buffer {
  return Buffer.from(password.normalize('NFKC'), 'utf8');
}

export function makeVerifier(password: string, salt = randomBytes(16), iterations = ITERATIONS): Verifier {
  const salted = pbkdf2Sync(prepared(password), salt, iterations, 32, 'sha256');
  return { iterations, salt, storedKey: sha256(hmac(salted, 'Client Key')), serverKey: hmac(salted, 'Server Key') };
}

/** As `makeVerifier`, in another thread. */
export async function deriveVerifier(password: string, salt: Buffer, iterations = ITERATIONS): Promise<Verifier> {
  const salted = await pbkdf2Async(prepared(password), salt, iterations, 32, 'sha256');
  return { iterations, salt, storedKey: sha256(hmac(salted, 'Client Key')), serverKey: hmac(salted, 'Server Key') };
}

export function formatVerifier(v: Verifier): string {
  const b64 = (bytes: Buffer) => bytes.toString('base64');
  return `SCRAM-SHA-256$${v.iterations}:${b64(v.salt)}$${b64(v.storedKey)}:${b64(v.serverKey)}`;
}

/**
 * The salt of a user without a verifier of its own: one that does not exist, or whose password is stored as it is.
 * @param seed a secret of ours: with the same one, a name always has the same salt, as one that exists has
 */
export function saltFor(user: string, seed: Buffer): Buffer {
  return hmac(seed, user).subarray(0, 16);
}

/** For a user that does not exist: a key nobody has. */
export function mockVerifier(user: string, seed: Buffer): Verifier {
  return { iterations: ITERATIONS, salt: saltFor(user, seed), storedKey: randomBytes(32), serverKey: randomBytes(32) };
}

/** True when the password is the one that the verifier was made of. Costs milliseconds, in another thread. */
export async function passwordFits(password: string, { iterations, salt, storedKey }: Verifier): Promise<boolean> {
  const salted = await pbkdf2Async(prepared(password), salt, iterations, 32, 'sha256');
  return timingSafeEqual(sha256(hmac(salted, 'Client Key')), storedKey);
}

function attribute(message: string, name: string): string | null {
  for (const part of message.split(',')) if (part.startsWith(`${name}=`)) return part.slice(2);
  return null;
}

/**
 * The server's side of one exchange: two messages in, two messages out.
 * What is not a proof of the wrong password is an error of its own, as with PostgreSQL (auth-scram.c).
 */
export class ScramServer {
  readonly #salt: Buffer;
  readonly #iterations: number;
  readonly #binding: Buffer | null;
  readonly #plus: boolean;
  #clientFirstBare = '';
  #gs2Header = '';
  #serverFirst = '';
  #nonce: string;

  /**
   * @param binding channel binding of the connection where SCRAM-SHA-256-PLUS was offered
   * @param plus it was chosen
   * @param nonce our part of it; given only to replay a known exchange
   */
  constructor(
    { salt, iterations }: Pick<Verifier, 'salt' | 'iterations'>,
    { binding, plus }: { readonly binding: Buffer | null; readonly plus: boolean } = { binding: null, plus: false },
    nonce = randomBytes(18).toString('base64'),
  ) {
    this.#salt = salt;
    this.#iterations = iterations;
    this.#binding = binding;
    this.#plus = plus;
    this.#nonce = nonce;
  }

  /** @returns server-first-message. @throws FairleadError protocol_violation, unsupported, access_denied */
  first(clientFirst: string): string {
    const match = /^([ny]|p=([A-Za-z0-9.-]+)),([^,]*),(.*)$/s.exec(clientFirst);
    if (match === null) throw malformed('no channel binding flag');
    const [, flag, type, authorization, bare] = match as unknown as string[];
    this.#checkFlag(flag as string, type);
    if (authorization !== '')
      throw new FairleadError(
        'unsupported',
        'client uses authorization identity, but it is not supported',
        SCRAM_REMEDY,
      );
    if (bare?.startsWith('m='))
      throw new FairleadError('unsupported', 'client requires an unsupported SCRAM extension', SCRAM_REMEDY);
    const nonce = /^n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?$/s.exec(bare as string)?.[1];
    if (nonce === undefined) throw malformed('no user name and nonce');
    this.#gs2Header = `${flag},,`;
    this.#clientFirstBare = bare as string;
    this.#nonce = `${nonce}${this.#nonce}`;
    this.#serverFirst = `r=${this.#nonce},s=${this.#salt.toString('base64')},i=${this.#iterations}`;
    return this.#serverFirst;
  }

  /**
   * @param verifier with the salt and iterations of the first message
   * @returns server-final-message and the client's key when the proof holds, else null.
   * @throws FairleadError protocol_violation, access_denied
   */
  final(clientFinal: string, { storedKey, serverKey }: Pick<Verifier, 'storedKey' | 'serverKey'>): ScramProof | null {
    const proofAt = clientFinal.lastIndexOf(',p=');
    if (proofAt === -1) throw malformed('no proof');
    const withoutProof = clientFinal.slice(0, proofAt);
    const proof = Buffer.from(clientFinal.slice(proofAt + 3), 'base64');
    if (proof.length !== 32) throw malformed('a proof of a wrong length');
    this.#checkBinding(attribute(withoutProof, 'c'));
    if (attribute(withoutProof, 'r') !== this.#nonce) throw malformed('nonce does not match');
    const authMessage = `${this.#clientFirstBare},${this.#serverFirst},${withoutProof}`;
    const clientKey = xor(proof, hmac(storedKey, authMessage));
    if (!timingSafeEqual(sha256(clientKey), storedKey)) return null;
    return { message: `v=${hmac(serverKey, authMessage).toString('base64')}`, clientKey };
  }

  /** A client that could bind but was told that we cannot has talked to somebody in between. RFC 5802, section 6. */
  #checkFlag(flag: string, type: string | undefined): void {
    if (flag === 'y' && !this.#plus && this.#binding !== null) {
      throw new FairleadError(
        'access_denied',
        'SCRAM channel binding negotiation error',
        'the client supports channel binding but thinks that it was not offered: somebody may have changed the offer on the way',
      );
    }
    if (type === undefined && this.#plus) throw malformed('SCRAM-SHA-256-PLUS without channel binding data');
    if (type !== undefined && !this.#plus) throw malformed('SCRAM-SHA-256 with channel binding data');
    if (type !== undefined && type !== 'tls-server-end-point') {
      throw malformed(`unsupported SCRAM channel-binding type "${type}"`);
    }
  }

  #checkBinding(given: string | null): void {
    const header = Buffer.from(this.#gs2Header);
    const bound = this.#plus && this.#binding !== null;
    const expected = bound ? Buffer.concat([header, this.#binding as Buffer]) : header;
    if (given === expected.toString('base64')) return;
    if (!bound) throw malformed('unexpected channel-binding attribute in the final message');
    throw new FairleadError(
      'access_denied',
      'SCRAM channel binding check failed',
      'the client saw another certificate than the one of Fairlead: somebody may stand between, or a TLS proxy does',
    );
  }
}

/** What a client has proved with, and what proves to it that we knew. */
export type ScramProof = { readonly message: string; readonly clientKey: Buffer };

const SCRAM_REMEDY = 'use another driver, or another method of authentication';

function malformed(what: string): FairleadError {
  return new FairleadError('protocol_violation', `malformed SCRAM message: ${what}`, SCRAM_REMEDY);
}

/**
 * What a client says about channel binding: it has no channel to bind to (`none`), it could but was not offered to (`unoffered`; a
 * server that did offer it then knows that somebody stands between), or the binding itself.
 */
export type ClientBinding = 'none' | 'unoffered' | { readonly endPoint: Buffer };

/** The client's side, towards servers. */
export class ScramClient {
  readonly #secret: ScramSecret;
  readonly #nonce = randomBytes(18).toString('base64');
  readonly #gs2Header: string;
  /** Attribute `c`: the header, and the binding behind it. */
  readonly #channel: string;
  #serverSignature = '';

  constructor(secret: ScramSecret, binding: ClientBinding = 'none') {
    this.#secret = secret;
    const bound = typeof binding === 'object';
    this.#gs2Header = bound ? 'p=tls-server-end-point,,' : binding === 'none' ? 'n,,' : 'y,,';
    const header = Buffer.from(this.#gs2Header);
    this.#channel = (bound ? Buffer.concat([header, binding.endPoint]) : header).toString('base64');
  }

  /** client-first-message; PostgreSQL ignores the user name in it. */
  first(): string {
    return `${this.#gs2Header}n=,r=${this.#nonce}`;
  }

  /**
   * client-final-message.
   * @throws Error when the server's message is malformed, or a key does not belong to the server's salt.
   */
  final(serverFirst: string): string {
    const nonce = attribute(serverFirst, 'r');
    const saltText = attribute(serverFirst, 's');
    const iterations = Number(attribute(serverFirst, 'i'));
    if (nonce === null || saltText === null || !(iterations > 0) || !nonce.startsWith(this.#nonce)) {
      throw new Error('malformed SCRAM message from the server');
    }
    const withoutProof = `c=${this.#channel},r=${nonce}`;
    const authMessage = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`;
    const { clientKey, serverKey } = this.#keys(Buffer.from(saltText, 'base64'), iterations);
    this.#serverSignature = hmac(serverKey, authMessage).toString('base64');
    const proof = xor(clientKey, hmac(sha256(clientKey), authMessage));
    return `${withoutProof},p=${proof.toString('base64')}`;
  }

  /** True when the server proved that it knows the verifier. */
  verify(serverFinal: string): boolean {
    return this.#serverSignature !== '' && attribute(serverFinal, 'v') === this.#serverSignature;
  }

  #keys(salt: Buffer, iterations: number): { clientKey: Buffer; serverKey: Buffer } {
    if (this.#secret.kind === 'key') {
      const { clientKey, verifier } = this.#secret;
      if (!verifier.salt.equals(salt) || verifier.iterations !== iterations) {
        throw new Error('the server has another SCRAM verifier for this user than the one the client logged in with');
      }
      return { clientKey, serverKey: verifier.serverKey };
    }
    return saltedKeys(this.#secret.password, salt, iterations);
  }
}

/** PBKDF2 costs milliseconds: the keys of the last logins are kept, for a pool opens many connections with one password. */
const KEY_CACHE = new Map<string, { clientKey: Buffer; serverKey: Buffer }>();

function saltedKeys(password: string, salt: Buffer, iterations: number): { clientKey: Buffer; serverKey: Buffer } {
  const id = sha256(
    Buffer.concat([prepared(password), Buffer.from([0]), salt, Buffer.from(String(iterations))]),
  ).toString('latin1');
  const known = KEY_CACHE.get(id);
  if (known !== undefined) return known;
  const salted = pbkdf2Sync(prepared(password), salt, iterations, 32, 'sha256');
  const keys = { clientKey: hmac(salted, 'Client Key'), serverKey: hmac(salted, 'Server Key') };
  if (KEY_CACHE.size >= 256) KEY_CACHE.clear();
  KEY_CACHE.set(id, keys);
  return keys;
}
