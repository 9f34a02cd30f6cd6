import type { ErrorFields } from '../wire/fields.ts';
import { message } from '../wire/writer.ts';
import { NOBODYS, SHARED_PREFIX } from './prepared-statement.ts';

const SHARED_NAME = new RegExp(`"${SHARED_PREFIX}\\d+"`, 'g');

/**
 * An ErrorResponse that names a prepared statement as the server knows it, with the client's name instead; null when it names none.
 * @param start at the type byte
 * @param name of the statement that the refused message is about
 */
export function clientsWords(
  buffer: Buffer,
  start: number,
  end: number,
  { message: text }: ErrorFields,
  name: string | null,
): Buffer | null {
  if (name === null || !text.includes(SHARED_PREFIX)) return null;
  const quoted = `"${Buffer.from(name, 'utf8').toString('latin1')}"`;
  const body = buffer.toString('latin1', start + 5, end);
  const said = body.includes(NOBODYS)
    ? body.replaceAll(`prepared statement "${NOBODYS}"`, 'unnamed prepared statement').replaceAll(NOBODYS, '')
    : body.replaceAll(SHARED_NAME, () => quoted);
  return message(buffer[start] as number, Buffer.from(said, 'latin1'));
}
