import type { ErrorFields } from '../wire/fields.ts';
import { message } from '../wire/writer.ts';
import type { ExchangeOwner } from './exchange.ts';
import { NOBODYS, SHARED_PREFIX } from './prepared-statement.ts';

const SHARED_NAME = new RegExp(`"(${SHARED_PREFIX}\\d+)"`, 'g');

/**
 * An ErrorResponse that names a prepared statement as the server knows it, with the client's name instead; null when it names none.
 * @param start at the type byte
 */
export function clientsWords(
  buffer: Buffer,
  start: number,
  end: number,
  { message: text }: ErrorFields,
  owner: ExchangeOwner,
): Buffer | null {
  if (!text.includes(SHARED_PREFIX)) return null;
  const body = buffer
    .toString('latin1', start + 5, end)
    .replaceAll(NOBODYS, '')
    .replaceAll(SHARED_NAME, (quoted, name: string) => {
      const clients = owner.clientName?.(name) ?? null;
      return clients === null ? quoted : `"${Buffer.from(clients, 'utf8').toString('latin1')}"`;
    });
  return message(buffer[start] as number, Buffer.from(body, 'latin1'));
}
