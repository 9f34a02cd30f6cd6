/** What is known about a user's password. `pg_authid.rolpassword`, PgBouncer's `userlist.txt` and `auth.users` write the same three forms. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { parseVerifier, type ScramSecret, type Verifier } from './scram.ts';

/** Enough to check a client; only a plain password logs in to a server by every method. */
export type Secret =
  | { readonly kind: 'plain'; readonly password: string }
  | { readonly kind: 'scram'; readonly verifier: Verifier }
  /** `hash`: 32 hexadecimal digits, the md5 of the password followed by the user's name. */
  | { readonly kind: 'md5'; readonly hash: string };

/**
 * Finds what is known about a user; null when there is no such user, or none that may log in with a password.
 * @throws FairleadError when it cannot be found out now: the client hears that instead of "wrong password"
 */
export type SecretLookup = (database: string, user: string) => Promise<Secret | null>;

/** What logs in to a server. An md5 hash does where the server asks for md5. */
export type ServerSecret = ScramSecret | { readonly kind: 'md5'; readonly hash: string };

/** True when one logs in wherever the other does. */
export function sameSecret(a: ServerSecret, b: ServerSecret): boolean {
  switch (a.kind) {
    case 'password':
      return b.kind === 'password' && a.password === b.password;
    case 'md5':
      return b.kind === 'md5' && a.hash === b.hash;
    case 'key':
      return b.kind === 'key' && a.clientKey.equals(b.clientKey) && sameVerifier(a.verifier, b.verifier);
  }
}

function sameVerifier(a: Verifier, b: Verifier): boolean {
  return a.iterations === b.iterations && a.salt.equals(b.salt) && a.serverKey.equals(b.serverKey);
}

/** A text as it is stored: `SCRAM-SHA-256$…`, `md5…`, anything else is the password itself. */
export function parseSecret(text: string): Secret {
  const verifier = parseVerifier(text);
  if (verifier !== null) return { kind: 'scram', verifier };
  return /^md5[0-9a-f]{32}$/i.test(text)
    ? { kind: 'md5', hash: text.slice(3).toLowerCase() }
    : { kind: 'plain', password: text };
}

const md5 = (...parts: readonly (string | Buffer)[]) => {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

/** What a server stores of a password under md5. */
export function md5Hash(password: string, user: string): string {
  return md5(password, user);
}

/** What a client answers to AuthenticationMD5Password. @param hash as of `md5Hash` */
export function md5Answer(hash: string, salt: Buffer): string {
  return `md5${md5(hash, salt)}`;
}

/** Takes the same time wherever the two differ. */
export function sameText(a: string, b: string): boolean {
  const [digestA, digestB] = [a, b].map((text) => createHash('sha256').update(text).digest()) as [Buffer, Buffer];
  return timingSafeEqual(digestA, digestB);
}
