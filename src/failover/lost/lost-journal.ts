import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from '../../cluster/cluster.ts';
import type { Config } from '../../config/config.ts';
import { messageOf } from '../../core/errors.ts';
import { formatLsn, type Lsn } from '../../core/lsn.ts';
import { sleep } from '../../core/sleep.ts';
import { journalDirectory } from './journal-directory.ts';
import { JOURNAL_FORMAT, JOURNAL_VERSION, type JournalHeader } from './journal-format.ts';
import { journalLine } from './journal-lines.ts';
import { type LostTransactions, lostTransactions } from './lost-transactions.ts';

/** A failover waits no longer than this for a file system to take the file. */
const OPEN_MS = 250;
/** At the end a file that is under way gets this long. */
const LEAVE_MS = 10_000;

/** What a failover was. */
export type Lost = {
  readonly systemId: string;
  readonly epoch: number;
  readonly from: string | null;
  readonly to: string;
  readonly oldTimeline: number;
  readonly newTimeline: number;
  readonly forkLsn: Lsn;
  readonly oldPrimaryLsn: Lsn;
  readonly firstXid: string;
};

export type LostJournalDeps = {
  readonly cluster: Cluster;
  readonly config: Config;
  event(kind: string, message: string, detail: object): void;
};

/** Writes the transactions that a failover lost into a file, with their rows. The failover goes on meanwhile, and whatever becomes of it. */
export class LostJournal {
  readonly #deps: LostJournalDeps;
  readonly #directory: string;
  readonly #writing = new Set<Promise<void>>();

  constructor(deps: LostJournalDeps) {
    this.#deps = deps;
    this.#directory = journalDirectory(deps.config.failover.journal_directory);
  }

  /** Resolves when what is under way is written, or takes too long. */
  async stop(): Promise<void> {
    const patience = new AbortController();
    await Promise.race([Promise.all(this.#writing), sleep(LEAVE_MS, patience.signal)]);
    patience.abort();
  }

  /**
   * Takes down at once what was lost, and writes it. Never rejects: what fails is an event.
   * @returns the file; null when nothing was lost that is known with its rows, or there is no place to write it to
   */
  async write(lost: Lost): Promise<string | null> {
    const { cluster, config } = this.#deps;
    if (cluster.kept.budgetBytes === 0) return null;
    const found = lostTransactions(cluster, lost.forkLsn);
    if (found.transactions.length === 0) return null;
    const at = new Date().toISOString();
    const { forkLsn, oldPrimaryLsn, ...facts } = lost;
    const header: JournalHeader = {
      ...{ format: JOURNAL_FORMAT, version: JOURNAL_VERSION, ...facts, database: config.cluster.database },
      ...{ forkLsn: formatLsn(forkLsn), oldPrimaryLsn: formatLsn(oldPrimaryLsn), at },
      toldUntil: formatLsn(cluster.freshness.asOf),
      transactions: found.transactions.length,
      listedFrom: found.listedFrom === null ? null : formatLsn(found.listedFrom),
    };
    const name = `lost-${at.replaceAll(/[-:]|\.\d+/g, '')}-${lost.from ?? 'unknown'}-epoch-${lost.epoch}.jsonl`;
    const file = join(this.#directory, name);
    const detail = { node: lost.from, file, transactions: found.transactions.length };
    const failed = (error: unknown) => {
      const message = `${detail.transactions} lost transactions are not written to ${file}: ${messageOf(error)}`;
      this.#deps.event('journal-failed', message, detail);
    };
    const opening = openNew(this.#directory, `${file}.part`);
    const { encoding } = cluster.kept;
    const writing = opening
      .then((handle) => finish(handle, file, () => writeAll(handle, header, found, encoding)))
      .then(() => syncDirectory(this.#directory))
      .then(() => {
        const message = `${detail.transactions} lost transactions are in ${file}; fairlead recover shows and replays them`;
        this.#deps.event('journal-written', message, detail);
      }, failed)
      .finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
    const patience = new AbortController();
    const usable = await Promise.race([
      opening.then(
        () => true,
        () => false,
      ),
      sleep(OPEN_MS, patience.signal).then(() => true),
    ]);
    patience.abort();
    return usable ? file : null;
  }
}

/** For the owner only: there are data in it. */
async function openNew(directory: string, file: string): Promise<FileHandle> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return open(file, 'wx', 0o600);
}

async function writeAll(
  handle: FileHandle,
  header: JournalHeader,
  { transactions }: LostTransactions,
  encoding: string,
): Promise<void> {
  await handle.appendFile(`${JSON.stringify(header)}\n`);
  for (const transaction of transactions) {
    for (const part of await journalLine(transaction, encoding)) await handle.appendFile(part);
  }
}

/** Whole and durable under its name, or not there. */
async function finish(handle: FileHandle, file: string, write: () => Promise<void>): Promise<void> {
  try {
    try {
      await write();
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${file}.part`, file);
  } catch (error) {
    await rm(`${file}.part`, { force: true });
    throw error;
  }
}

/** The name, too, has to outlive a crash. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
