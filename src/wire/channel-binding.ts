/** Channel binding `tls-server-end-point` (RFC 5929, section 4): a hash of the server's certificate, which SCRAM-SHA-256-PLUS proves to know. */
import { createHash } from 'node:crypto';

/** Hash of each signature algorithm. MD5 and SHA-1 are replaced by SHA-256, as the RFC says. */
const HASH_OF_SIGNATURE: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010e': 'sha224',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
};

/** Hash algorithms on their own, as RSASSA-PSS names them in its parameters. */
const HASH: Readonly<Record<string, string>> = {
  '2b0e03021a': 'sha256', // SHA-1
  '608648016503040204': 'sha224',
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
};
const RSASSA_PSS = '2a864886f70d01010a';

const SEQUENCE = 0x30;
const OBJECT_ID = 0x06;
const CONTEXT_0 = 0xa0;

type Element = { readonly tag: number; readonly start: number; readonly end: number };

/** One DER element. @throws RangeError when the bytes end inside it */
function elementAt(der: Buffer, at: number): Element {
  const tag = der.readUInt8(at);
  const first = der.readUInt8(at + 1);
  if (first < 0x80) return { tag, start: at + 2, end: at + 2 + first };
  const size = first & 0x7f;
  if (size < 1 || size > 4) throw new RangeError('a length of this form is not DER');
  const start = at + 2 + size;
  return { tag, start, end: start + der.readUIntBE(at + 2, size) };
}

/** The hash that a certificate's signature is made with; null where it has none of its own (Ed25519), or is not known. */
function hashOf(der: Buffer): string | null {
  const certificate = elementAt(der, 0);
  const toBeSigned = elementAt(der, certificate.start);
  const algorithm = elementAt(der, toBeSigned.end);
  const id = elementAt(der, algorithm.start);
  if (certificate.tag !== SEQUENCE || algorithm.tag !== SEQUENCE || id.tag !== OBJECT_ID) return null;
  const name = der.toString('hex', id.start, id.end);
  if (name !== RSASSA_PSS) return HASH_OF_SIGNATURE[name] ?? null;
  const parameters = elementAt(der, id.end);
  // SHA-1, the default, when the parameters name none
  if (parameters.start === parameters.end) return 'sha256';
  const tagged = elementAt(der, parameters.start);
  if (tagged.tag !== CONTEXT_0) return 'sha256';
  const hash = elementAt(der, elementAt(der, tagged.start).start);
  return HASH[der.toString('hex', hash.start, hash.end)] ?? null;
}

/** @returns null for a certificate that gives no binding: PostgreSQL offers no SCRAM-SHA-256-PLUS with it that could succeed */
export function endPointBinding(der: Buffer): Buffer | null {
  try {
    const hash = hashOf(der);
    return hash === null ? null : createHash(hash).update(der).digest();
  } catch {
    return null;
  }
}
