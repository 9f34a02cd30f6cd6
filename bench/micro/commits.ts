import type { ControlConnection } from '../../src/backend/control-connection.ts';
import { CommitLog } from '../../src/cluster/commit-log.ts';
import { KeptRows } from '../../src/cluster/kept-rows.ts';
import { RecentCommits } from '../../src/cluster/recent-commits.ts';
import { TableFreshness } from '../../src/cluster/table-freshness.ts';
import { LSN_ZERO, lsn } from '../../src/core/lsn.ts';
import { BatchBuilder, type CommitBatch } from '../../src/replication/commit-batch.ts';
import { MAX_TABLES } from '../../src/replication/commit-decoder.ts';
import { recordBatch } from '../../src/replication/record-batch.ts';
import { RelationNames } from '../../src/replication/relation-names.ts';
import type { Cost } from './cost.ts';
import { nanosecondsPer } from './stopwatch.ts';

/** Tables of a commit, and how many such commits come together. */
const SHAPES = [
  { tables: 10, commits: 100 },
  { tables: 10_000, commits: 1 },
];
const LOG_ENTRIES = 65_536;
const NO_ROWS = { copiedBytes: 0, leftOut: false };

/** What the logical stream costs per commit, on either side of the worker's door; what it costs to ask the tables that it fills. */
export async function commitCosts(forMs: number): Promise<Cost[]> {
  const costs: Cost[] = [];
  for (const { tables, commits } of SHAPES) {
    const names = Array.from({ length: tables }, (_, i) => `public.table_${i}`);
    // as the decoder hands it on: one of very many tables counts as a change of all
    const opaque = tables > MAX_TABLES;
    const commit = { commitMs: 0, xid: 1, untold: false, opaque, tables: opaque ? [] : names, ddl: [], rows: NO_ROWS };
    const builder = new BatchBuilder();
    const collect = (): CommitBatch => {
      for (let i = 1; i <= commits; i++) builder.add(BigInt(i), commit);
      return builder.take();
    };
    const batch = collect();
    const freshness = new TableFreshness();
    const model = { commits: new CommitLog(), freshness, recent: new RecentCommits(), kept: new KeptRows() };
    const known = await namesOf(opaque ? [] : names, batch);
    const record = () => {
      // the same commits further on: those that were seen are ignored
      for (let i = 0; i < batch.endLsns.length; i++) {
        batch.endLsns[i]! += BigInt(commits);
        batch.commitMs[i]! += commits;
      }
      recordBatch(batch, model, known, { markedFrom: LSN_ZERO, untold() {}, marked() {} });
    };
    const what = `of ${tables.toLocaleString('en')} tables`;
    costs.push({ operation: `commit ${what}: collect`, ns: nanosecondsPer(forMs, collect, commits) });
    costs.push({ operation: `commit ${what}: record`, ns: nanosecondsPer(forMs, record, commits) });
    let asked = 0;
    const lookUp = () => {
      freshness.lastChange(asked++ % tables);
    };
    const of = `${tables.toLocaleString('en')} that changed`;
    costs.push({ operation: `last change of a table, ${of}`, ns: nanosecondsPer(forMs, lookUp) });
  }
  return [...costs, lagCost(forMs)];
}

/** Names that were looked up before: numbers are OIDs. */
async function namesOf(names: readonly string[], batch: CommitBatch): Promise<RelationNames> {
  const rows = names.map((name, oid) => ({ name, oids: String(oid), names: [name], lsn: '0/0', snapshot: '1:1:' }));
  const catalog = { query: async () => rows } as unknown as ControlConnection;
  const known = new RelationNames(catalog, () => true);
  known.learn(batch.names, batch.firstName);
  for (let number = 0; number < names.length; number++) known.oidsOf(number, lsn(1n));
  await known.resolve();
  if (names.length > 0 && known.oidsOf(0, lsn(1n)) === null) throw new Error('commits: the names are not known');
  return known;
}

/** The time of the oldest commit that a replica has not replayed, in a full log. */
function lagCost(forMs: number): Cost {
  const log = new CommitLog(LOG_ENTRIES);
  for (let i = 1; i <= LOG_ENTRIES; i++) log.record(lsn(BigInt(i)), i * 2);
  const positions = Array.from({ length: 1000 }, (_, i) => lsn(BigInt(i * 65)));
  let asked = 0;
  const body = () => {
    log.oldestAfter(positions[asked++ % 1000] as (typeof positions)[number]);
  };
  return {
    operation: `lag of a position, ${LOG_ENTRIES.toLocaleString('en')} entries`,
    ns: nanosecondsPer(forMs, body),
  };
}
