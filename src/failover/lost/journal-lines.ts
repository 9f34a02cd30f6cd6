import { setImmediate as turn } from 'node:timers/promises';
import { messageOf } from '../../core/errors.ts';
import { formatLsn } from '../../core/lsn.ts';
import { messagesIn } from '../../replication/row-arena.ts';
import { parseChange } from '../../replication/row-change.ts';
import { textDecoding } from '../../replication/text-decoding.ts';
import type { LostTransactions } from './lost-transactions.ts';

/** What is read without a break: clients are served meanwhile. */
const ROWS_AT_ONCE = 200;
const CHARACTERS_AT_ONCE = 256 * 1024;

/** The line of one transaction, in parts that make it up together. Rows that cannot be read are a reason and no error. */
export async function journalLine(
  { endLsn, commitMs, xid, tables, ddl, rows, reason }: LostTransactions['transactions'][number],
  encoding: string,
): Promise<readonly string[]> {
  const about = { endLsn: formatLsn(endLsn), commitTime: new Date(commitMs).toISOString(), xid };
  const start = (named: readonly string[]) =>
    JSON.stringify({ ...about, tables: named, ...(ddl ? { ddl } : {}) }).slice(0, -1);
  const without = (why: string) => [`${start(tables)},"rows":null,"reason":${JSON.stringify(why)}}\n`];
  if (rows === null) return without(reason ?? 'its rows were not kept');
  const decode = textDecoding(encoding);
  if (decode === null) return without(`its rows are in an encoding that is not read here: ${encoding}`);
  try {
    const seen = new Set<string>();
    const parts: string[] = [];
    let some: string[] = [];
    let read = 0;
    for (const piece of rows) {
      for (const message of messagesIn(piece)) {
        const text = decode(message);
        read += text.length;
        const change = parseChange(text);
        for (const { schema, table } of change.op === 'truncate' ? change.tables : [change])
          seen.add(`${schema}.${table}`);
        some.push(JSON.stringify(change));
        if (some.length < ROWS_AT_ONCE && read < CHARACTERS_AT_ONCE) continue;
        parts.push(some.join(','));
        some = [];
        read = 0;
        await turn();
      }
    }
    if (some.length > 0) parts.push(some.join(','));
    const named = tables.length === 0 ? [...seen] : tables;
    return [`${start(named)},"rows":[`, ...parts.flatMap((part, i) => (i === 0 ? [part] : [',', part])), ']}\n'];
  } catch (error) {
    return without(`its rows cannot be read: ${messageOf(error)}`);
  }
}
