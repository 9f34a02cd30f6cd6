import { createHmac, randomBytes } from 'node:crypto';
import { deriveVerifier, type Verifier } from '../wire/scram.ts';

/** Passwords are not kept as keys of a map: what it is found by says nothing to whoever reads our memory. */
const SECRET = randomBytes(32);
const KNOWN = new Map<string, Promise<Verifier>>();
const MAX_KNOWN = 10_000;

/** The verifier of a password that is known as it is. PBKDF2 takes milliseconds: done in another thread, and kept. */
export function derivedVerifier(password: string, salt: Buffer): Promise<Verifier> {
  const id = createHmac('sha256', SECRET).update(salt).update(password).digest('base64');
  const known = KNOWN.get(id);
  if (known !== undefined) return known;
  const made = deriveVerifier(password, salt);
  if (KNOWN.size >= MAX_KNOWN) KNOWN.clear();
  KNOWN.set(id, made);
  return made;
}
