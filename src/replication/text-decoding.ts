/** What PostgreSQL calls an encoding, and what it is called elsewhere. */
const LABELS: Readonly<Record<string, string>> = {
  UTF8: 'utf-8',
  // bytes of any kind: told only where they are UTF-8
  SQL_ASCII: 'utf-8',
  LATIN2: 'iso-8859-2',
  LATIN9: 'iso-8859-15',
  ISO_8859_5: 'iso-8859-5',
  ISO_8859_7: 'iso-8859-7',
  KOI8R: 'koi8-r',
  KOI8U: 'koi8-u',
  WIN1250: 'windows-1250',
  WIN1251: 'windows-1251',
  WIN1252: 'windows-1252',
};

/** Reads text in an encoding of PostgreSQL; null where that is none that can be read exactly. It throws at bytes that are no text. */
export function textDecoding(encoding: string): ((bytes: Uint8Array) => string) | null {
  // TextDecoder takes latin1 for windows-1252
  if (encoding === 'LATIN1')
    return (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  const label = LABELS[encoding];
  if (label === undefined) return null;
  const decoder = new TextDecoder(label, { fatal: true, ignoreBOM: true });
  return (bytes) => decoder.decode(bytes);
}
