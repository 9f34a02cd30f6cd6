import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Cluster } from '../../../../src/cluster/cluster.ts';
import { configSchema } from '../../../../src/config/config.ts';
import { LSN_ZERO, lsn } from '../../../../src/core/lsn.ts';
import { checkJournal } from '../../../../src/failover/lost/check-journal.ts';
import { journalDirectory } from '../../../../src/failover/lost/journal-directory.ts';
import { type Lost, LostJournal } from '../../../../src/failover/lost/lost-journal.ts';
import { RowArena } from '../../../../src/replication/row-arena.ts';

const LOST: Lost = {
  ...{ systemId: '7', epoch: 3, from: 'pg1', to: 'pg2', oldTimeline: 1, newTimeline: 2 },
  ...{ forkLsn: lsn(100n), oldPrimaryLsn: lsn(400n), firstXid: '750' },
};

describe('the journal of lost transactions', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'fairlead-journal-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  function scene(where: string, budgetBytes = 1e6) {
    const config = configSchema.parse({ cluster: { user: 'u', nodes: {} }, failover: { journal_directory: where } });
    const cluster = new Cluster([], config.routing.max_lag);
    cluster.kept.budgetBytes = budgetBytes;
    const events: string[] = [];
    const journal = new LostJournal({
      cluster,
      config,
      event: (kind, message) => void events.push(`${kind}: ${message}`),
    });
    return { cluster, journal, events };
  }

  /** As the stream tells it, over the worker's door. */
  function commit(cluster: Cluster, end: number, messages: readonly (string | Buffer)[], tables = ['public.t']): void {
    const arena = new RowArena(1e6);
    arena.begin();
    for (const message of messages) arena.append(Buffer.from(message as string));
    const about = { endLsn: lsn(BigInt(end)), commitMs: 1000.5, xid: 700 + end, tables };
    cluster.kept.receive(arena.take());
    cluster.kept.record({ ...about, ddl: false }, arena.copiedBytes, false);
    cluster.recent.record({ ...about, oids: [] });
  }

  const linesOf = (file: string | null) =>
    readFileSync(file as string, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));

  it('has what ended beyond the fork, in order, and nothing else is left in the directory', async () => {
    const where = join(directory, 'plain');
    const { cluster, journal, events } = scene(where);
    commit(cluster, 90, ['table public.t: INSERT: a[integer]:1']);
    commit(cluster, 100, ['table public.t: INSERT: a[integer]:2']);
    commit(cluster, 200, ['table public.t: INSERT: a[integer]:3', 'table public.t: DELETE: a[integer]:4']);
    // Fairlead's own rows are not copied
    commit(cluster, 250, [], ['fairlead.events']);
    commit(cluster, 300, Array(500).fill('table public.u: INSERT: a[integer]:5'), []);
    const file = await journal.write(LOST);
    await journal.stop();
    assert.deepEqual(readdirSync(where), [(file as string).slice(where.length + 1)]);
    const [header, first, second, ...more] = linesOf(file);
    assert.deepEqual(
      [header.transactions, header.forkLsn, header.firstXid, header.listedFrom],
      [2, '0/64', '750', null],
    );
    assert.deepEqual(first, {
      ...{ endLsn: '0/C8', commitTime: '1970-01-01T00:00:01.000Z', xid: 900, tables: ['public.t'] },
      rows: [
        { op: 'insert', schema: 'public', table: 't', new: { a: '3' } },
        { op: 'delete', schema: 'public', table: 't', old: { a: '4' } },
      ],
    });
    assert.deepEqual([second.rows.length, second.tables, more], [500, ['public.u'], []]);
    assert.match(events.join(), /^journal-written: 2 lost transactions are in /);
  });

  it('names those whose rows were given up, and says from where on it is complete', async () => {
    const { cluster, journal } = scene(join(directory, 'small'), 2000);
    for (let end = 110; end <= 200; end += 10)
      commit(cluster, end, [`table public.t: INSERT: a[text]:'${'x'.repeat(300)}'`]);
    cluster.recent.gap(lsn(125n));
    const [header, ...lines] = linesOf(await journal.write(LOST).finally(() => journal.stop()));
    assert.equal(header.listedFrom, '0/7D');
    const kept = lines.filter(({ rows }) => rows !== null);
    assert.ok(kept.length > 0 && kept.length < 5);
    assert.equal(lines.length, 10);
    assert.match(lines[0].reason, /given up for those of later ones/);
  });

  it('rows that cannot be read are a reason, and others are there', async () => {
    const { cluster, journal } = scene(join(directory, 'odd'));
    commit(cluster, 200, [Buffer.from([0x74, 0xff, 0xfe])]);
    commit(cluster, 300, ['table public.t: INSERT: a[integer]:1']);
    const [, first, second] = linesOf(await journal.write(LOST).finally(() => journal.stop()));
    assert.equal(first.rows, null);
    assert.match(first.reason, /cannot be read/);
    assert.equal(second.rows.length, 1);
    cluster.kept.encoding = 'MULE_INTERNAL';
    const [, third] = linesOf(await journal.write({ ...LOST, epoch: 4 }).finally(() => journal.stop()));
    assert.match(third.reason, /encoding .*MULE_INTERNAL/);
  });

  it('a directory that cannot be written is an event, and nobody waits', async () => {
    const taken = join(directory, 'file');
    writeFileSync(taken, '');
    const { cluster, journal, events } = scene(join(taken, 'below'));
    commit(cluster, 200, ['table public.t: INSERT: a[integer]:1']);
    assert.equal(await journal.write(LOST), null);
    await journal.stop();
    assert.match(events.join(), /^journal-failed: 1 lost transactions are not written to .*ENOTDIR/);
  });

  it('nothing is written where nothing was lost, or nothing is kept', async () => {
    const where = join(directory, 'none');
    const { cluster, journal, events } = scene(where);
    commit(cluster, 100, ['table public.t: INSERT: a[integer]:1']);
    assert.equal(await journal.write(LOST), null);
    commit(cluster, 200, ['table public.t: INSERT: a[integer]:1']);
    cluster.kept.budgetBytes = 0;
    assert.equal(await journal.write(LOST), null);
    cluster.kept.reset();
    assert.deepEqual([cluster.kept.after(LSN_ZERO), events], [[], []]);
  });

  it('lies where the configuration, systemd or the user keeps what lasts', () => {
    assert.equal(journalDirectory('/x', { STATE_DIRECTORY: '/y' }, true), '/x');
    assert.equal(journalDirectory(null, { STATE_DIRECTORY: '/y:/z' }, true), '/y');
    assert.equal(journalDirectory(null, {}, true), '/var/lib/fairlead');
    assert.equal(journalDirectory(null, { XDG_STATE_HOME: '/s' }, false), '/s/fairlead');
    assert.match(journalDirectory(null, { XDG_STATE_HOME: 'relative' }, false), /\/\.local\/state\/fairlead$/);
  });
});

describe('fairlead check', () => {
  it('says whether the directory can be written, or made', async () => {
    const check = (failover: object) =>
      checkJournal(configSchema.parse({ cluster: { user: 'u', nodes: {} }, failover }));
    const [made] = await check({ journal_directory: join(tmpdir(), 'not', 'there', 'yet') });
    assert.equal(made?.level, 'ok');
    const file = join(import.meta.dirname, 'lost-journal.test.js');
    const [below] = await check({ journal_directory: join(file, 'below') });
    assert.equal(below?.level, 'warning');
    assert.deepEqual(await check({ keep_rows: 0 }), []);
    assert.deepEqual(await check({ mode: 'off' }), []);
  });
});
