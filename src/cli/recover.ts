/** `fairlead recover FILE`: replays transactions that a failover lost, from the journal that it wrote. */
import type pg from 'pg';
import { findPrimary } from '../agent/find-primary.ts';
import { controlTarget } from '../backend/control-connection.ts';
import { type Config, membersOf, type NodeConfig, nodesOf } from '../config/config.ts';
import { FairleadError } from '../core/errors.ts';
import { ControlNodes } from '../failover/control-nodes.ts';
import { inspectPrimary } from '../failover/inspect.ts';
import type { JournalHeader } from '../failover/lost/journal-format.ts';
import { readJournal } from '../failover/recover/read-journal.ts';
import { type ReplayedTransaction, recover as replay } from '../failover/recover/recover.ts';
import { openSession } from '../failover/recover/session.ts';
import { forkOf } from '../failover/timeline-history.ts';
import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';
import { CONFIG_OPTIONS, configFrom } from './config-options.ts';

const OPTIONS = {
  ...CONFIG_OPTIONS,
  apply: { type: 'boolean' },
  conflicts: { type: 'string' },
  json: { type: 'boolean' },
} as const;

export const recover: Command = async (args, { print, note, environment }) => {
  const { values, words } = parseOptions(args, OPTIONS, 1);
  const [file] = words;
  if (file === undefined) throw new FairleadError('bad_arguments', 'name the journal: fairlead recover FILE');
  const conflicts = values.conflicts ?? 'stop';
  if (conflicts !== 'stop' && conflicts !== 'skip-row') {
    throw new FairleadError('bad_arguments', `--conflicts ${conflicts}: write stop or skip-row`);
  }
  const apply = values.apply === true;
  const journal = await readJournal(file);
  const config = configFrom(values, environment);
  const primary = await primaryFor(config, journal.header);
  const client = await openSession(controlTarget(config, primary));
  try {
    await requireRecord(client, config);
    const { header } = journal;
    if (values.json !== true) {
      const lost = `${header.transactions} transactions of ${header.from ?? 'an unknown primary'} that were lost at ${header.forkLsn}, ${header.at}`;
      print(`${lost}; ${apply ? 'replayed' : 'tried, and taken back,'} on ${primary.name}`);
      if (header.listedFrom !== null) note(`not listed: transactions that ended before ${header.listedFrom}`);
    }
    const transactions: ReplayedTransaction[] = [];
    const result = await replay(client, journal, { apply, skipRows: conflicts === 'skip-row' }, (transaction) => {
      if (values.json === true) transactions.push(transaction);
      else for (const line of linesOf(transaction, apply)) print(line);
    });
    const { counts, sequences, asReplica, notes } = result;
    const { conflict, failed, unknown } = counts;
    if (values.json === true) {
      print(
        JSON.stringify({
          primary: primary.name,
          applied: apply,
          header,
          counts,
          sequences,
          asReplica,
          notes,
          transactions,
        }),
      );
    } else {
      for (const { sequence, to } of sequences) print(`${sequence} ${apply ? 'goes' : 'would go'} on after ${to}`);
      for (const text of notes) note(text);
      if (!asReplica) note('triggers fire: the role may not set session_replication_role');
      print(inTotal(counts, apply));
    }
    const skipped = conflicts === 'skip-row' && result.skipped > 0;
    return conflict + failed + unknown + notes.length > 0 || skipped ? 1 : 0;
  } finally {
    await client.end().catch(() => {});
  }
};

/** The primary of the cluster that the journal is of, on a timeline that lacks what the journal has. @throws FairleadError */
async function primaryFor(config: Config, header: JournalHeader): Promise<NodeConfig> {
  const { systemId, database, oldTimeline, newTimeline } = header;
  if (database !== config.cluster.database) {
    const text = `the journal is of database ${database}, cluster.database is ${config.cluster.database}`;
    throw new FairleadError('refused', text, 'give the configuration that the journal was written with');
  }
  const members = membersOf(nodesOf(config));
  const named = (name: string) => members.find((node) => node.name === name) as NodeConfig;
  const nodes = new ControlNodes((name) => controlTarget(config, named(name)));
  try {
    const name = await findPrimary(
      nodes,
      members.map((node) => node.name),
    );
    const [row] = await nodes.query<{ id: string }>(
      name,
      'SELECT system_identifier::text AS id FROM pg_control_system()',
      [],
      5000,
    );
    if (row?.id !== systemId) {
      const text = `the journal is of another cluster: system identifier ${systemId}, ${name} has ${row?.id}`;
      throw new FairleadError('refused', text, 'give the configuration of the cluster that lost the transactions');
    }
    const history = await inspectPrimary(nodes, name);
    const descends = history.timeline === newTimeline || forkOf(history, newTimeline) !== null;
    // of a history that cannot be read only the number is known
    if (!descends && (history.known || history.timeline < newTimeline)) {
      const text = `${name} is on timeline ${history.timeline}, which does not come from timeline ${newTimeline}, the one that left ${oldTimeline}`;
      throw new FairleadError('refused', text, 'a primary on the old timeline has what the journal has');
    }
    return named(name);
  } finally {
    nodes.close();
  }
}

/** What was replayed is on record in schema fairlead. @throws FairleadError */
async function requireRecord(client: pg.Client, config: Config): Promise<void> {
  const { rows } = await client.query<{ there: string | null }>(
    `SELECT to_regclass('fairlead.recovered')::text AS there`,
  );
  if (rows[0]?.there !== null) return;
  const text = `database ${config.cluster.database} has no table fairlead.recovered`;
  throw new FairleadError('refused', text, 'run `fairlead migrate` first');
}

/** Of one transaction; --json has more. */
const STATEMENTS_SHOWN = 20;

const TOLD: Readonly<Record<ReplayedTransaction['state'], readonly [string, string]>> = {
  replayed: ['would be replayed', 'replayed'],
  before: ['was replayed before', 'was replayed before'],
  there: ['is there already', 'is there already'],
  conflict: ['CONFLICT', 'CONFLICT, not replayed'],
  failed: ['FAILS', 'FAILED, not replayed'],
  unknown: ['ROWS UNKNOWN', 'ROWS UNKNOWN, not replayed'],
};

function* linesOf(transaction: ReplayedTransaction, apply: boolean): Generator<string> {
  const { endLsn, commitTime, xid, tables, state, statements, problems, changes, skipped } = transaction;
  const which = `${endLsn}  ${commitTime}  xid ${xid}  ${tables.join(', ')}`;
  const left = skipped > 0 ? `, ${skipped} rows left out` : '';
  yield `${which}: ${TOLD[state][apply ? 1 : 0]}${left}`;
  if (state !== 'before') {
    for (const statement of statements.slice(0, STATEMENTS_SHOWN)) yield `  ${statement}`;
    if (changes > STATEMENTS_SHOWN) yield `  … and ${changes - STATEMENTS_SHOWN} more`;
  }
  for (const { statement, why } of problems) yield statement === null ? `  ! ${why}` : `  ! ${why}: ${statement}`;
}

function inTotal(counts: Readonly<Record<ReplayedTransaction['state'], number>>, apply: boolean): string {
  const said = Object.entries(counts).filter(([, count]) => count > 0);
  const total = said
    .map(([state, count]) => `${count} ${TOLD[state as ReplayedTransaction['state']][apply ? 1 : 0]}`)
    .join(', ');
  const hint = !apply && counts.replayed > 0 ? '; --apply replays them' : '';
  return `in all: ${total || 'nothing'}${hint}`;
}
