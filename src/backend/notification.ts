import { stringEnd } from '../wire/fields.ts';

/** A NotificationResponse: who notified, on which channel. The payload is not looked at. */
export type Notification = { readonly pid: number; readonly channel: string };

/** @param start at the type byte */
export function readNotification(buffer: Buffer, start: number, end: number): Notification {
  const stop = stringEnd(buffer, start + 9, end);
  return { pid: buffer.readInt32BE(start + 5), channel: buffer.toString('utf8', start + 9, stop === -1 ? end : stop) };
}

/** A copy of the message that names another process. */
export function notificationFrom(pid: number, buffer: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.from(buffer.subarray(start, end));
  copy.writeInt32BE(pid, 5);
  return copy;
}

function quoted(channel: string): string {
  return `"${channel.replaceAll('"', '""')}"`;
}

/** One text for all that has to change; without any change an empty query, whose answer comes after what was notified before it. */
export function channelStatements(listen: Iterable<string>, unlisten: Iterable<string>): string {
  const statements = [...listen].map((channel) => `LISTEN ${quoted(channel)}`);
  for (const channel of unlisten) statements.push(`UNLISTEN ${quoted(channel)}`);
  return statements.join(';');
}
