/** The untyped packets at the start of a connection. https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-START-UP */
import { stringEnd } from './fields.ts';

const CANCEL_CODE = 80877102;
const SSL_CODE = 80877103;
const GSS_CODE = 80877104;

/** PostgreSQL refuses longer startup packets (MAX_STARTUP_PACKET_LENGTH). */
export const MAX_STARTUP_BYTES = 10_000;

export type StartupPacket =
  | { readonly kind: 'ssl' }
  | { readonly kind: 'gss' }
  | { readonly kind: 'cancel'; readonly pid: number; readonly secret: Buffer }
  | {
      readonly kind: 'startup';
      readonly major: number;
      readonly minor: number;
      readonly parameters: ReadonlyMap<string, string>;
    }
  | { readonly kind: 'invalid'; readonly reason: string }
  /** Another major version of the protocol. */
  | { readonly kind: 'unsupported'; readonly reason: string };

/** The newest minor version of protocol 3 that we speak. 3.2 has cancel keys of up to 256 bytes. */
export const NEWEST_MINOR = 2;

const LAYOUT = 'invalid startup packet layout: expected terminator as last byte';

/** Of a parameter that is given twice the last holds, as with PostgreSQL. @param packet one whole packet with its length word */
export function readStartup(packet: Buffer): StartupPacket {
  if (packet.length < 8) return { kind: 'invalid', reason: 'startup packet too short' };
  const code = packet.readUInt32BE(4);
  if (code === SSL_CODE) return { kind: 'ssl' };
  if (code === GSS_CODE) return { kind: 'gss' };
  if (code === CANCEL_CODE) {
    if (packet.length < 16 || packet.length > 12 + 256)
      return { kind: 'invalid', reason: 'invalid length of cancel request packet' };
    return { kind: 'cancel', pid: packet.readInt32BE(8), secret: packet.subarray(12) };
  }
  const major = code >>> 16;
  if (major !== 3) {
    const asked = `${major}.${code & 0xffff}`;
    return {
      kind: 'unsupported',
      reason: `unsupported frontend protocol ${asked}: server supports 3.0 to 3.${NEWEST_MINOR}`,
    };
  }
  const parameters = new Map<string, string>();
  let pos = 8;
  while (pos < packet.length && packet[pos] !== 0) {
    const nameEnd = stringEnd(packet, pos, packet.length);
    const valueEnd = nameEnd === -1 ? -1 : stringEnd(packet, nameEnd + 1, packet.length);
    if (valueEnd === -1) return { kind: 'invalid', reason: LAYOUT };
    parameters.set(packet.toString('utf8', pos, nameEnd), packet.toString('utf8', nameEnd + 1, valueEnd));
    pos = valueEnd + 1;
  }
  if (pos !== packet.length - 1) return { kind: 'invalid', reason: LAYOUT };
  return { kind: 'startup', major, minor: code & 0xffff, parameters };
}

export function startupPacket(parameters: Iterable<readonly [string, string]>, minor = 0): Buffer {
  const parts: string[] = [];
  for (const [name, value] of parameters) parts.push(name, value);
  const body = Buffer.from(`${parts.join('\0')}\0\0`, 'utf8');
  const packet = Buffer.allocUnsafe(8 + body.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE((3 << 16) | minor, 4);
  body.copy(packet, 8);
  return packet;
}

/** Asks a server for TLS; it answers with one byte. */
export const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

/** Asks a server for GSSAPI encryption. */
export const GSS_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]);

export function cancelPacket(pid: number, secret: Buffer): Buffer {
  const packet = Buffer.allocUnsafe(12 + secret.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE(CANCEL_CODE, 4);
  packet.writeInt32BE(pid, 8);
  secret.copy(packet, 12);
  return packet;
}

/** NegotiateProtocolVersion: the minor version that will be spoken, and the `_pq_.` options that we do not know. */
export function negotiateVersion(minor: number, unknown: readonly string[]): Buffer {
  const names = Buffer.from(unknown.map((name) => `${name}\0`).join(''), 'utf8');
  const out = Buffer.allocUnsafe(13 + names.length);
  out[0] = 0x76;
  out.writeInt32BE(12 + names.length, 1);
  out.writeInt32BE((3 << 16) | minor, 5);
  out.writeInt32BE(unknown.length, 9);
  names.copy(out, 13);
  return out;
}

/**
 * Settings in the `options` startup parameter: `-c name=value`, `--name=value`; a backslash quotes the next character.
 * Null when it has anything else.
 */
export function readOptions(options: string): Map<string, string> | null {
  const words: string[] = [];
  let word = '';
  let open = false;
  for (let i = 0; i < options.length; i++) {
    const c = options[i] as string;
    if (c === '\\' && i + 1 < options.length) {
      word += options[++i];
      open = true;
    } else if (/\s/.test(c)) {
      if (open) words.push(word);
      word = '';
      open = false;
    } else {
      word += c;
      open = true;
    }
  }
  if (open) words.push(word);
  const settings = new Map<string, string>();
  for (let i = 0; i < words.length; i++) {
    let text = words[i] as string;
    if (text === '-c') text = words[++i] ?? '';
    else if (text.startsWith('-c')) text = text.slice(2);
    else if (text.startsWith('--')) text = text.slice(2);
    else return null;
    const equals = text.indexOf('=');
    if (equals <= 0) return null;
    // as PostgreSQL does (ParseLongOption)
    settings.set(text.slice(0, equals).trim().replaceAll('-', '_'), text.slice(equals + 1));
  }
  return settings;
}
