import { PlainBatch } from '../backend/plain-batch.ts';
import type { ServerStatements } from '../backend/server-statements.ts';
import { CLIENT } from '../wire/message-type.ts';
import { SYNC } from '../wire/writer.ts';
import type { Batch } from './batch.ts';
import type { Variant } from './variant.ts';

/** A batch with its Sync in one piece. */
export type PlainEncoding = { readonly batch: PlainBatch; readonly bytes: Buffer };

/**
 * The bytes of a batch to which nothing has to be added: executions of statements that the server has, or of the unnamed one with its Parse.
 * Only names of statements differ from what the client sent. Null where it is not such a batch.
 */
export function encodePlain(batch: Batch, statements: ServerStatements, variant: Variant): PlainEncoding | null {
  const plain = new PlainBatch();
  const items = batch.items();
  let size = SYNC.length;
  for (let i = 0; i < items.length; i++) {
    const { type, raw, name, statement } = items[i] as (typeof items)[number];
    size += raw.length;
    switch (type) {
      case CLIENT.PARSE:
        if (i > 0 || name !== '') return null;
        plain.parses = true;
        break;
      case CLIENT.BIND: {
        if (statement === null) return null;
        plain.binds++;
        if (name !== '') {
          const prepared = variant(statement.prepared);
          if (!statements.use(prepared)) return null;
          plain.names(prepared, name ?? '');
          // at most: the client's name is at least one byte long
          size += prepared.wireName.length;
        } else if (!plain.parses) return null;
        break;
      }
      case CLIENT.DESCRIBE: {
        const bind = items[i - 1];
        if (name !== null || bind === undefined || bind.type !== CLIENT.BIND || bind.statement === null) return null;
        if (bind.name === '') break;
        if (plain.described !== null || !samePortal(bind.raw, raw)) return null;
        const { prepared, told } = bind.statement;
        plain.described = { statement: variant(prepared), unnamed: false, clientName: null, before: null, told };
        break;
      }
      case CLIENT.EXECUTE:
        break;
      default:
        return null;
    }
  }
  const out = Buffer.allocUnsafe(size);
  let at = 0;
  for (const { type, raw, name, statement } of items) {
    if (type === CLIENT.BIND && name !== '' && statement !== null) {
      at = writeBind(out, at, raw, variant(statement.prepared).wireName);
    } else at += raw.copy(out, at);
  }
  at += SYNC.copy(out, at);
  return { batch: plain, bytes: out.subarray(0, at) };
}

/** The Bind with the statement's name on the server. @returns where it ends */
function writeBind(out: Buffer, at: number, raw: Buffer, wireName: Buffer): number {
  const portalEnd = raw.indexOf(0, 5) + 1;
  const nameEnd = raw.indexOf(0, portalEnd) + 1;
  raw.copy(out, at, 0, portalEnd);
  wireName.copy(out, at + portalEnd);
  const rest = at + portalEnd + wireName.length;
  const end = rest + raw.copy(out, rest, nameEnd);
  out.writeInt32BE(end - at - 1, at + 1);
  return end;
}

/** Whether a Describe is about the portal of a Bind. */
function samePortal(bind: Buffer, describe: Buffer): boolean {
  const length = bind.indexOf(0, 5) - 5;
  return describe.length === 7 + length && bind.compare(describe, 6, 6 + length, 5, 5 + length) === 0;
}
