import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { FairleadError, messageOf } from '../../core/errors.ts';
import {
  JOURNAL_FORMAT,
  JOURNAL_VERSION,
  type JournalHeader,
  type JournalTransaction,
} from '../lost/journal-format.ts';

export type Journal = {
  readonly header: JournalHeader;
  /** One at a time: a file may be larger than memory. @throws FairleadError bad_arguments where the file is not whole */
  readonly transactions: AsyncIterable<JournalTransaction>;
};

/** @throws FairleadError bad_arguments when it cannot be read or is no journal */
export async function readJournal(file: string): Promise<Journal> {
  const lines = linesOf(file);
  const first = await lines.next();
  const header = first.done === true ? null : (parsed(file, first.value) as JournalHeader | null);
  if (header?.format !== JOURNAL_FORMAT) {
    throw new FairleadError(
      'bad_arguments',
      `${file} is no journal of lost transactions`,
      'give a file that Fairlead wrote',
    );
  }
  if (header.version !== JOURNAL_VERSION) {
    throw new FairleadError('bad_arguments', `${file} has version ${header.version}`, 'use the Fairlead that wrote it');
  }
  return { header, transactions: transactionsOf(file, header.transactions, lines) };
}

async function* transactionsOf(
  file: string,
  count: number,
  lines: AsyncGenerator<string, void>,
): AsyncGenerator<JournalTransaction> {
  let read = 0;
  for await (const line of lines) {
    read++;
    yield parsed(file, line) as JournalTransaction;
  }
  if (read === count) return;
  throw new FairleadError(
    'bad_arguments',
    `${file} has ${read} of ${count} transactions`,
    'it is not whole: copy it again',
  );
}

function parsed(file: string, line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new FairleadError('bad_arguments', `${file}: ${messageOf(error)}`, 'give a file that Fairlead wrote');
  }
}

async function* linesOf(file: string): AsyncGenerator<string, void> {
  const stream = createReadStream(file);
  const failed = new Promise<never>((_, reject) => stream.once('error', reject));
  failed.catch(() => {});
  const reader = createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
  const lines = reader[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await Promise.race([lines.next(), failed]);
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    throw error instanceof FairleadError
      ? error
      : new FairleadError(
          'bad_arguments',
          `${file} cannot be read: ${messageOf(error)}`,
          'give a file that Fairlead wrote',
        );
  } finally {
    reader.close();
    stream.destroy();
  }
}
