import { formatAt, readBind } from '../wire/bind.ts';
import { CLIENT } from '../wire/message-type.ts';
import {
  BIND_COMPLETE,
  CLOSE_COMPLETE,
  commandComplete,
  dataRow,
  PARSE_COMPLETE,
  parameterDescription,
  rowDescription,
} from '../wire/writer.ts';
import type { Work } from './work.ts';

/** One value that we know better than the server, under the name of its column. */
export type KnownValue = {
  readonly column: string;
  readonly value: string | boolean;
  readonly tag: 'SELECT 1' | 'SHOW';
  /** Types of the statement's parameters. */
  readonly parameters: readonly number[];
};

const DESCRIBES_STATEMENT = 0x53; // 'S'

/** The answer to a request that asks for nothing else, without ReadyForQuery. */
export function valueAnswer(work: Work, known: KnownValue): Buffer {
  const type = typeof known.value === 'boolean' ? 'bool' : 'text';
  const describe = (format: number) => rowDescription([known.column], [type], [format]);
  const row = (format: number) => Buffer.concat([dataRow([encoded(known.value, format)]), commandComplete(known.tag)]);
  if (work.batch === null) return Buffer.concat([describe(0), row(0)]);
  const out: Buffer[] = [];
  let format = 0;
  for (const item of work.batch.items()) {
    switch (item.type) {
      case CLIENT.PARSE:
        out.push(PARSE_COMPLETE);
        break;
      case CLIENT.BIND:
        format = formatAt(readBind(item.raw)?.resultFormats ?? [], 0);
        out.push(BIND_COMPLETE);
        break;
      case CLIENT.DESCRIBE:
        if (item.raw[5] === DESCRIBES_STATEMENT) out.push(parameterDescription(known.parameters), describe(0));
        else out.push(describe(format));
        break;
      case CLIENT.EXECUTE:
        out.push(row(format));
        break;
      case CLIENT.CLOSE:
        out.push(CLOSE_COMPLETE);
        break;
    }
  }
  return Buffer.concat(out);
}

function encoded(value: string | boolean, format: number): string | Buffer {
  if (typeof value === 'string') return value;
  return format === 1 ? Buffer.from([value ? 1 : 0]) : value ? 't' : 'f';
}
