import type { FairleadCommand, Verdict } from '../sql/verdict.ts';
import { CLIENT } from '../wire/message-type.ts';
import {
  BIND_COMPLETE,
  CLOSE_COMPLETE,
  commandComplete,
  dataRow,
  NO_DATA,
  NO_PARAMETERS,
  PARSE_COMPLETE,
  rowDescription,
} from '../wire/writer.ts';
import type { Batch } from './batch.ts';

/** What a statement addressed to Fairlead answers: a row of named texts, or nothing but its tag. */
export type LocalResult = { readonly tag: string; readonly row: readonly (readonly [string, string | null])[] | null };

/** The commands of a request when all its statements are for us; null when some are for a server. */
export function localCommands(verdicts: readonly Verdict[]): FairleadCommand[] | null {
  const commands: FairleadCommand[] = [];
  for (const { command } of verdicts) if (command !== null) commands.push(command);
  return commands.length === 0 || commands.length < verdicts.length ? null : commands;
}

/** Answer to a simple query, without ReadyForQuery. */
export function simpleAnswer(result: LocalResult): Buffer {
  if (result.row === null) return commandComplete(result.tag);
  return Buffer.concat([
    rowDescription(result.row.map(([name]) => name)),
    dataRow(result.row.map(([, value]) => value)),
    commandComplete(result.tag),
  ]);
}

/** Answers to the messages of a batch, without ReadyForQuery. `run` is called for each Execute; bytes are the whole answer to it. */
export function batchAnswer(
  batch: Batch,
  describe: (verdict: Verdict) => readonly string[] | null,
  run: (verdict: Verdict) => LocalResult | Buffer,
): Buffer {
  const out: Buffer[] = [];
  let bound: Verdict | null = null;
  for (const item of batch.items()) {
    const verdict: Verdict | null = item.statement?.verdict ?? bound;
    switch (item.type) {
      case CLIENT.PARSE:
        out.push(PARSE_COMPLETE);
        break;
      case CLIENT.BIND:
        bound = verdict;
        out.push(BIND_COMPLETE);
        break;
      case CLIENT.DESCRIBE: {
        const columns = verdict === null ? null : describe(verdict);
        if (item.name !== null) out.push(NO_PARAMETERS);
        out.push(columns === null ? NO_DATA : rowDescription(columns));
        break;
      }
      case CLIENT.EXECUTE: {
        if (verdict === null) break;
        const result = run(verdict);
        if (Buffer.isBuffer(result)) {
          out.push(result);
          break;
        }
        if (result.row !== null) out.push(dataRow(result.row.map(([, value]) => value)));
        out.push(commandComplete(result.tag));
        break;
      }
      case CLIENT.CLOSE:
        out.push(CLOSE_COMPLETE);
        break;
    }
  }
  return Buffer.concat(out);
}
