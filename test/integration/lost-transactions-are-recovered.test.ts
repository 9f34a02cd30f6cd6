/**
 * The replicas are cut off, and only the logical stream hears of what the primary goes on to commit, until it is killed: the failover
 * writes all of that down, and `fairlead recover` brings it back.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import type { ConfigInput } from '../../src/config/config.ts';
import { parseLsn } from '../../src/core/lsn.ts';
import type { JournalHeader, JournalTransaction } from '../../src/failover/lost/journal-format.ts';
import type { ReplayedTransaction } from '../../src/failover/recover/recover.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { runCommandLine } from '../support/command-line.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

/** Not compressible, so that it is stored apart from its row. */
const large = (seed: number) =>
  Array.from({ length: 400 }, (_, i) => (Math.sin(seed * 1000 + i) * 1e15).toString(36)).join('');

const SCHEMA = `
CREATE TYPE mood AS ENUM ('good', 'it''s bad');
CREATE TABLE accounts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, tags text[], extra jsonb, raw bytea, big text,
  twice int GENERATED ALWAYS AS (id * 2) STORED, mood mood, at timestamptz, price numeric, span interval, ok bool, few bit(3), ratio float8);
CREATE TABLE "Order ""Lines""" (account int REFERENCES accounts ON DELETE CASCADE, no int, "what?" text, PRIMARY KEY (account, no));
CREATE TABLE whole (a text, b int); ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE log (what text);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.log VALUES (TG_OP || coalesce(NEW.id, OLD.id)); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TABLE contested (id int PRIMARY KEY, what text);
CREATE TABLE bulk (id int PRIMARY KEY, what text);
INSERT INTO accounts (name, big) SELECT 'old ' || i, '${large(1)}' FROM generate_series(1, 6) i;
INSERT INTO "Order ""Lines""" SELECT i, n, 'old' FROM generate_series(1, 6) i, generate_series(1, 2) n;
INSERT INTO whole VALUES ('x', 1), ('x', 1), ('y', NULL);
INSERT INTO contested VALUES (1, 'before');
INSERT INTO bulk VALUES (1, 'before');`;

/** Tables that nobody else writes to. */
const TABLES = ['accounts', '"Order ""Lines"""', 'whole', 'log'];

/** Each is a transaction that will be lost. */
const LOST: readonly (readonly [string, ...unknown[]][])[] = [
  [
    [
      `INSERT INTO accounts (name, tags, extra, raw, big, mood, at, price, span, ok, few, ratio) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
      ...["it's\nnew\\", ['a b', 'NULL', null, '"q"'], { k: [1, null] }, Buffer.from([0, 39, 92, 255]), large(2)],
      ...[
        "it's bad",
        '2026-02-03 04:05:06.789+02',
        '123456789012345678.90',
        '1 mon -2 days 03:00:00.5',
        true,
        '101',
        0.1,
      ],
    ],
    [`INSERT INTO "Order ""Lines""" VALUES (7, 1, $1), (7, 2, NULL)`, 'first'],
  ],
  // the large value is not touched: the stream does not repeat it
  [[`UPDATE accounts SET name = 'renamed', tags = '{}', ok = false WHERE id = 2`]],
  [[`UPDATE accounts SET price = -0.5, ratio = 'NaN' WHERE id IN (2, 7)`]],
  [[`DELETE FROM accounts WHERE id = 3`]],
  [
    [`UPDATE "Order ""Lines""" SET no = no + 10, "what?" = NULL WHERE account = 4`],
    [`DELETE FROM "Order ""Lines""" WHERE account = 5 AND no = 1`],
  ],
  [
    [`UPDATE whole SET b = 2 WHERE ctid = (SELECT min(ctid) FROM whole)`],
    [`DELETE FROM whole WHERE b IS NULL`],
    [`INSERT INTO whole VALUES (NULL, NULL)`],
  ],
  // no row of it is to stay; the WAL of a sequence is 32 values ahead
  [
    [`INSERT INTO accounts (name) SELECT 'short-lived' FROM generate_series(1, 40)`],
    [`DELETE FROM accounts WHERE name = 'short-lived'`],
  ],
  [[`INSERT INTO contested VALUES (2, 'lost')`]],
  [[`UPDATE contested SET what = 'lost' WHERE id = 1`]],
  [[`UPDATE contested SET what = 'lost again' WHERE id = 1`], [`INSERT INTO contested VALUES (3, 'lost')`]],
  [[`INSERT INTO bulk SELECT i, repeat('x', 1000) FROM generate_series(2, 2000) i`]],
  [[`UPDATE bulk SET what = 'after' WHERE id = 1`]],
];

type Printed = {
  primary: string;
  counts: Record<string, number>;
  sequences: { sequence: string; to: string }[];
  transactions: ReplayedTransaction[];
};
type Failover = { kind: string; details: { journal: string | null; forkLsn: string } };

describe('lost transactions are recovered', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let directory: string;
  let configFile: string;
  let file: string;
  /** Rows of the tables on the former primary, right before its end, and the ids of the transactions that nobody else had. */
  const truth = new Map<string, string[]>();
  const xids: number[] = [];

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'fairlead-lost-'));
    // what it commits would be lost too
    cluster = await startTestCluster({ replicas: 2, settings: { autovacuum: 'off' } });
    const failover = { timeout: '5s', max_loss: '1GB', keep_rows: '1MB', journal_directory: join(directory, 'a', 'b') };
    fairlead = await startFairlead(cluster, { config: { failover } });
    await untilServing(fairlead, 2);
    const { superuser: user, password, nodes } = cluster;
    const addresses = Object.fromEntries(nodes.map(({ name, host, port }) => [name, `${host}:${port}`]));
    const config: ConfigInput = {
      cluster: { user, password, nodes: addresses },
      auth: { users: { [user]: password } },
    };
    configFile = join(directory, 'fairlead.yaml');
    await writeFile(configFile, JSON.stringify(config));
  });

  after(async () => {
    await fairlead?.stop();
    await cluster?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  const recover = async (...more: string[]) => {
    const { code, stdout, stderr } = await runCommandLine(['recover', file, '-c', configFile, '--json', ...more]);
    assert.equal(stderr, '');
    return { code, ...(JSON.parse(stdout) as Printed) };
  };
  const rowsOf = async (name: string) => {
    const node = cluster.node(name);
    const found = new Map<string, string[]>();
    for (const table of TABLES) {
      const rows = await node.query<{ row: string }>(`SELECT t::text AS row FROM ${table} t ORDER BY 1`);
      found.set(
        table,
        rows.map(({ row }) => row),
      );
    }
    return found;
  };
  const states = ({ transactions }: Printed) => transactions.map(({ state }) => state);

  it('a failover writes down exactly what was lost, with rows', { timeout: 200_000 }, async () => {
    const old = cluster.node('pg1');
    await old.query(SCHEMA);
    const client = new pg.Client(fairlead.url);
    client.on('error', () => {});
    await client.connect();
    const position = async () =>
      (await old.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn'))[0];
    const { model } = { model: fairlead.app.cluster };
    const setUp = parseLsn((await position())?.lsn as string);
    await until(() => model.receivedByAll() > setUp, { what: 'the tables on the replicas' });
    await until(() => model.kept.bytes === 0, { what: 'nothing to be kept of what everybody has' });
    await cutOff(cluster);
    const start = parseLsn((await position())?.lsn as string);

    for (const statements of LOST) {
      await client.query('BEGIN');
      for (const [text, ...values] of statements) await client.query(text, values);
      const { rows } = await client.query<{ xid: string }>('SELECT pg_current_xact_id()::xid::text AS xid');
      await client.query('COMMIT');
      xids.push(Number(rows[0]?.xid));
    }
    for (const [table, rows] of await rowsOf('pg1')) truth.set(table, rows);
    const end = parseLsn((await position())?.lsn as string);
    await until(() => model.freshness.asOf >= end, { what: 'the stream to have told everything' });
    assert.ok(model.kept.bytes > 0 && model.kept.bytes <= 1024 * 1024);
    await old.kill9();

    const failover = await until(
      async () => {
        const { events } = (await (await fetch(`${fairlead.http}/api/events`)).json()) as { events: Failover[] };
        return events.find(({ kind }) => kind === 'failover');
      },
      { what: 'the failover', timeoutMs: 60_000 },
    );
    assert.ok(failover.details.journal !== null);
    file = failover.details.journal;
    await until(async () => (await stat(file)).isFile(), { what: 'the journal' });
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const lines = (await readFile(file, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    const header = lines[0] as JournalHeader;
    const transactions = lines.slice(1) as JournalTransaction[];
    assert.equal(header.forkLsn, failover.details.forkLsn);
    assert.ok(parseLsn(header.forkLsn) <= start, 'nothing of it was received');
    assert.deepEqual([header.from, header.oldTimeline, header.newTimeline, header.listedFrom], ['pg1', 1, 2, null]);
    assert.deepEqual(
      transactions.map(({ xid }) => xid),
      xids,
    );
    assert.deepEqual(
      transactions.map(({ rows }) => rows?.length ?? null),
      // with what the trigger and the cascade wrote
      [4, 2, 4, 4, 3, 3, 160, 1, 1, 2, null, 1],
    );
    assert.match(transactions[10]?.reason ?? '', /more rows than are kept/);
    const [renamed] = transactions[1]?.rows ?? [];
    assert.deepEqual(renamed?.op === 'update' && [renamed.new.name, renamed.unchanged], ['renamed', ['big']]);
    await client.end();
  });

  it('recover without --apply tells what it would do, and does nothing', { timeout: 150_000 }, async () => {
    const { primary } = fairlead.app.cluster.assignment.value;
    const fork = await rowsOf(primary as string);
    const told = await recover();
    assert.equal(told.primary, primary);
    assert.deepEqual(states(told).slice(0, 10), Array(10).fill('replayed'));
    assert.deepEqual(states(told).slice(10), ['unknown', 'conflict'], 'what was done to rows that nobody knows');
    assert.equal(told.code, 1);
    assert.deepEqual(told.transactions[7]?.statements, [
      `INSERT INTO public.contested (id, what) VALUES ('2', 'lost')`,
    ]);
    const { code, stdout } = await runCommandLine(['recover', file, '-c', configFile]);
    assert.equal(code, 1);
    assert.match(stdout, /^12 transactions of pg1 that were lost at .*; tried, and taken back, on pg[23]\n/);
    assert.match(
      stdout,
      /public\.contested: would be replayed\n {2}INSERT INTO public\.contested \(id, what\) VALUES \('2', 'lost'\)\n/,
    );
    assert.match(stdout, /public\.bulk: ROWS UNKNOWN\n {2}! it has more rows than are kept/);
    assert.match(stdout, /\nin all: 10 would be replayed, 1 CONFLICT, 1 ROWS UNKNOWN; --apply replays them\n$/);
    assert.deepEqual(await rowsOf(primary as string), fork);
  });

  it('brings everything back but what others have changed since, and no second time', {
    timeout: 150_000,
  }, async () => {
    const primary = fairlead.app.cluster.assignment.value.primary as string;
    const node = cluster.node(primary);
    await node.query(`INSERT INTO contested VALUES (2, 'mine')`);
    await node.query(`UPDATE contested SET what = 'mine' WHERE id = 1`);
    const applied = await recover('--apply');
    assert.deepEqual(states(applied).slice(0, 7), Array(7).fill('replayed'), JSON.stringify(applied.transactions));
    assert.deepEqual(await rowsOf(primary), truth);
    assert.deepEqual(states(applied).slice(7), ['conflict', 'conflict', 'conflict', 'unknown', 'conflict']);
    assert.deepEqual(
      applied.transactions.slice(7, 10).map(({ problems }) => problems[0]?.why),
      [
        'another row has this key',
        'the row was changed after the failover',
        'an earlier lost transaction changed this row too, and was not replayed',
      ],
    );
    assert.equal(applied.code, 1);
    assert.deepEqual(applied.sequences, [{ sequence: 'public.accounts_id_seq', to: '47' }]);
    const [next] = await node.query<{ id: number }>(`INSERT INTO accounts (name) VALUES ('next') RETURNING id`);
    assert.equal(next?.id, 48);
    await node.query(`DELETE FROM accounts WHERE id = 48`);
    await node.query(`DELETE FROM log WHERE what IN ('INSERT48', 'DELETE48')`);

    const again = await recover('--apply');
    assert.deepEqual(states(again).slice(0, 7), Array(7).fill('before'));
    assert.deepEqual(await rowsOf(primary), truth);
    const contested = () => node.query<{ id: number; what: string }>('SELECT id, what FROM contested ORDER BY id');
    assert.deepEqual(await contested(), [
      { id: 1, what: 'mine' },
      { id: 2, what: 'mine' },
    ]);

    // who has made room gets the row, and who asks for single rows gets those that nothing stands against
    await node.query('DELETE FROM contested WHERE id = 2');
    const skipping = await recover('--apply', '--conflicts', 'skip-row');
    assert.deepEqual(states(skipping).slice(7, 10), ['replayed', 'replayed', 'replayed']);
    assert.deepEqual(
      skipping.transactions.slice(7, 10).map(({ rows, skipped }) => [rows, skipped]),
      [
        [1, 0],
        [0, 1],
        [1, 1],
      ],
    );
    assert.deepEqual(await contested(), [
      { id: 1, what: 'mine' },
      { id: 2, what: 'lost' },
      { id: 3, what: 'lost' },
    ]);
  });

  it('refuses a journal of another cluster, and what is none', { timeout: 150_000 }, async () => {
    const text = await readFile(file, 'utf8');
    const other = join(directory, 'other.jsonl');
    const run = async (content: string) => {
      await writeFile(other, content);
      const { code, stderr } = await runCommandLine(['recover', other, '-c', configFile, '--apply']);
      return `${code} ${stderr}`;
    };
    assert.match(await run(text.replace(/"systemId":"\d+"/, '"systemId":"77"')), /^1 fairlead: .*another cluster.*77/);
    assert.match(await run('{}\n'), /^2 fairlead: .*is no journal/);
    assert.match(await run(text.slice(0, text.lastIndexOf('{"endLsn"'))), /^2 fairlead: .*11 of 12 transactions/);
  });
});

/** The primary lets in no replica any more, and those that are connected are thrown out; the logical stream goes on. */
async function cutOff(cluster: TestCluster): Promise<void> {
  const node = cluster.node('pg1');
  const [hba] = await node.query<{ file: string; text: string }>(
    `SELECT current_setting('hba_file') AS file, pg_read_file(current_setting('hba_file')) AS text`,
  );
  const lines = `host replication all all reject\nlocal replication all reject\n${hba?.text}`.split('\n');
  const literals = lines.map((line) => pg.escapeLiteral(line)).join(', ');
  await node.query(`COPY (SELECT unnest(ARRAY[${literals}])) TO ${pg.escapeLiteral(hba?.file ?? '')}`);
  const loadedAt = async () => (await node.query<{ at: string }>('SELECT pg_conf_load_time()::text AS at'))[0]?.at;
  const before = await loadedAt();
  await node.query('SELECT pg_reload_conf()');
  await until(async () => (await loadedAt()) !== before, { what: 'the lines to count' });
  const senders = `FROM pg_stat_activity WHERE backend_type = 'walsender' AND pid IN
    (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'physical'
      UNION SELECT pid FROM pg_stat_replication WHERE application_name ~ '^pg[23]$')`;
  await until(
    async () => {
      await node.query(`SELECT pg_terminate_backend(pid) ${senders}`);
      const [row] = await node.query<{ count: number }>(
        `SELECT count(*)::int AS count FROM pg_stat_replication WHERE application_name <> 'fairlead-stream'`,
      );
      return row?.count === 0;
    },
    { what: 'no replica' },
  );
}
