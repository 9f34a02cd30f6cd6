import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster, type TestNode } from '../support/cluster.ts';
import { startFairlead, type TestFairlead } from '../support/fairlead.ts';
import { whileReplayIsPaused } from '../support/paused-replay.ts';
import { RawClient } from '../support/raw-client.ts';
import { show, untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

/** `quiet` and `calm` are touched by nobody, `busy` by everybody; the others are the ways in which a statement reaches a table that it does not name. */
const SCHEMA = `
CREATE TABLE quiet (id int PRIMARY KEY, note text);
INSERT INTO quiet VALUES (1, 'q');
CREATE TABLE calm (id int);
CREATE TABLE busy (id int);
CREATE TABLE audited (id int);
CREATE TABLE audit (id int);
CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END $$;
CREATE TRIGGER t AFTER INSERT ON audited FOR EACH ROW EXECUTE FUNCTION note_it();
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int, parent int REFERENCES parent ON DELETE CASCADE);
INSERT INTO parent SELECT generate_series(1, 20);
INSERT INTO child SELECT i, i FROM generate_series(1, 20) i;
CREATE TABLE parted (id int) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (100) TO (1000);
CREATE TABLE base (id int);
CREATE TABLE derived () INHERITS (base);
CREATE TABLE seen (id int);
CREATE VIEW over_seen AS SELECT count(*) AS n FROM seen;
CREATE VIEW over_view AS SELECT n + 1 AS m FROM over_seen;
CREATE TABLE counted (id int);
CREATE FUNCTION count_it() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM counted';
CREATE FUNCTION count_again() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count_it() + 1';
CREATE VIEW over_count AS SELECT count_it() AS n;
CREATE FUNCTION count_hidden() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM counted); END';
CREATE FUNCTION count_lying() RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN (SELECT count(*) FROM counted); END';
CREATE FUNCTION matches(int, int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT count(*) > 5 FROM counted';
CREATE OPERATOR ~=~ (LEFTARG = int, RIGHTARG = int, FUNCTION = matches);
CREATE TABLE allowed (id int);
INSERT INTO allowed VALUES (1);
CREATE TABLE guarded (id int);
INSERT INTO guarded SELECT generate_series(1, 10);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY only_allowed ON guarded FOR SELECT USING (id IN (SELECT id FROM allowed));
CREATE TABLE source (id int);
CREATE MATERIALIZED VIEW shown AS SELECT count(*) AS n FROM source;
CREATE SCHEMA other;
CREATE TABLE other.quiet_twin (id int);
CREATE TABLE quiet_twin (id int);
CREATE TABLE renamed (id int);
CREATE TABLE renamed_to (id int);
CREATE ROLE reader LOGIN PASSWORD 'reader';
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
`;

/** What is written while the replica stands still, and what is read then: the primary's answer, wherever it comes from. */
const REACHED: readonly { readonly what: string; readonly write: string; readonly read: string }[] = [
  { what: 'by name', write: 'INSERT INTO seen VALUES (1)', read: 'SELECT count(*) FROM seen' },
  {
    what: 'by a quoted name with its schema',
    write: 'INSERT INTO seen VALUES (1)',
    read: 'SELECT count(*) FROM "public"."seen"',
  },
  {
    what: 'in a subquery',
    write: 'INSERT INTO seen VALUES (1)',
    read: 'SELECT note, (SELECT count(*) FROM seen) FROM quiet',
  },
  {
    what: 'in WITH',
    write: 'INSERT INTO seen VALUES (1)',
    read: 'WITH quiet AS (SELECT * FROM seen) SELECT count(*) FROM quiet',
  },
  { what: 'by TABLE', write: 'INSERT INTO seen VALUES (7)', read: 'SELECT count(*) FROM (TABLE seen) x' },
  { what: 'by a trigger', write: 'INSERT INTO audited VALUES (1)', read: 'SELECT count(*) FROM audit' },
  {
    what: 'by a cascade',
    write: 'DELETE FROM parent WHERE id = (SELECT min(id) FROM parent)',
    read: 'SELECT count(*) FROM child',
  },
  { what: 'through a partition', write: 'INSERT INTO parted_low VALUES (1)', read: 'SELECT count(*) FROM parted' },
  { what: 'through the root', write: 'INSERT INTO parted VALUES (200)', read: 'SELECT count(*) FROM parted_high' },
  { what: 'through a child', write: 'INSERT INTO derived VALUES (1)', read: 'SELECT count(*) FROM base' },
  { what: 'through a view', write: 'INSERT INTO seen VALUES (1)', read: 'SELECT n FROM over_seen' },
  { what: 'through a view of a view', write: 'INSERT INTO seen VALUES (1)', read: 'SELECT m FROM over_view' },
  { what: 'through a function', write: 'INSERT INTO counted VALUES (1)', read: 'SELECT count_it()' },
  { what: 'through a function of a function', write: 'INSERT INTO counted VALUES (1)', read: 'SELECT count_again()' },
  {
    what: 'through a view that calls a function',
    write: 'INSERT INTO counted VALUES (1)',
    read: 'SELECT n FROM over_count',
  },
  {
    what: 'through a function that nobody can look into',
    write: 'INSERT INTO counted VALUES (1)',
    read: 'SELECT count_hidden()',
  },
  {
    what: 'through a function that says it is immutable',
    write: 'INSERT INTO counted VALUES (1)',
    read: 'SELECT count_lying()',
  },
  { what: 'through an operator', write: 'INSERT INTO counted SELECT generate_series(1, 9)', read: 'SELECT 1 ~=~ 2' },
  { what: 'by TRUNCATE', write: 'TRUNCATE seen', read: 'SELECT count(*) FROM seen' },
  { what: 'by COPY', write: "COPY seen FROM PROGRAM 'echo 1'", read: 'SELECT count(*) FROM seen' },
  {
    what: 'by a block of code',
    write: 'DO $$ BEGIN INSERT INTO seen VALUES (1); END $$',
    read: 'SELECT count(*) FROM seen',
  },
  {
    what: 'by refreshing what was written before',
    write: 'INSERT INTO source VALUES (1); REFRESH MATERIALIZED VIEW shown',
    read: 'SELECT n FROM shown',
  },
  { what: 'as a catalog', write: 'ANALYZE quiet', read: "SELECT reltuples FROM pg_class WHERE relname = 'quiet'" },
  {
    what: 'by another definition of a view',
    write: 'CREATE OR REPLACE VIEW over_seen AS SELECT -count(*) AS n FROM seen',
    read: 'SELECT n FROM over_seen',
  },
  {
    what: 'by another definition of a function',
    write: "CREATE OR REPLACE FUNCTION count_it() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT -count(*) FROM seen'",
    read: 'SELECT count_it()',
  },
  {
    what: 'by another table of that name',
    write:
      'ALTER TABLE renamed RENAME TO gone; ALTER TABLE renamed_to RENAME TO renamed; INSERT INTO renamed VALUES (5)',
    read: 'SELECT count(*) FROM renamed',
  },
  {
    what: 'by another table before it in the search_path',
    write: 'CREATE TABLE other.calm (id int); INSERT INTO other.calm VALUES (1)',
    read: 'SELECT count(*) FROM calm',
  },
];

describe('reads of tables that nobody touched', () => {
  let cluster: TestCluster;
  let fairlead: TestFairlead;
  let primary: TestNode;
  const open: RawClient[] = [];

  before(async () => {
    cluster = await startTestCluster({ replicas: 1 });
    primary = cluster.node('pg1');
    fairlead = await startFairlead(cluster, {
      auth: { users: { [cluster.superuser]: cluster.password, reader: 'reader' } },
      config: { failover: { mode: 'off' }, routing: { max_lag: '1s', freshness_wait: '150ms' } },
    });
    await untilServing(fairlead, 1);
    await primary.query(SCHEMA);
  });
  after(async () => {
    for (const one of open) one.vanish();
    await fairlead?.stop();
    await cluster?.stop();
  });

  async function connect(): Promise<RawClient> {
    const client = await RawClient.connect(fairlead.url);
    open.push(client);
    await client.query('SET search_path = other, public');
    return client;
  }

  async function routeOf(client: RawClient): Promise<string> {
    const [route] = await client.records('SHOW fairlead.route');
    return `${route?.node} ${route?.reason}`;
  }

  /** Writes and reads in turns until it is known which table is which: before, and after DDL, everything counts as changed. */
  async function settle(client: RawClient, write = 'INSERT INTO busy VALUES (1)'): Promise<void> {
    await until(
      async () => {
        let route = '';
        await primary.query(write);
        await whileReplayIsPaused(cluster, ['pg2'], async () => {
          await client.query(write);
          await client.query('SELECT note FROM quiet');
          route = await routeOf(client);
        });
        return route === 'pg2 fresh tables';
      },
      { what: 'reads that know their tables' },
    );
  }

  it('stay on a replica that is behind in others, whoever wrote there, beyond max_lag too', async () => {
    const client = await connect();
    await settle(client);
    await whileReplayIsPaused(cluster, ['pg2'], async () => {
      await client.query('INSERT INTO busy VALUES (1)');
      await primary.query('INSERT INTO busy VALUES (2)');
      for (let i = 0; i < 20; i++) {
        await client.query('SELECT note FROM quiet');
        assert.equal(await routeOf(client), 'pg2 fresh tables');
      }
      await client.query('SELECT count(*) FROM quiet q, calm c WHERE now() > $$2020-01-01$$');
      assert.equal(await routeOf(client), 'pg2 fresh tables');
      await client.query('SELECT count(*) FROM busy');
      assert.equal(await routeOf(client), 'pg1 no fresh replica');
      const fresh = (await show(fairlead.url, 'SHOW FRESHNESS')).map((row) => `${row.table} ${row.current_on}`);
      assert.ok(fresh.includes('public.busy '), fresh.join());
      assert.ok(fresh.includes('(any other) pg2'), fresh.join());
      const lagging = async () => {
        await primary.query('INSERT INTO busy VALUES (3)');
        return (await topology()) === 'lagging';
      };
      await until(lagging, { what: 'the replica to be beyond max_lag' });
      await client.query('SELECT note FROM quiet');
      assert.equal(await routeOf(client), 'pg2 fresh tables');
      const stranger = await connect();
      await stranger.query('SELECT note FROM quiet');
      assert.equal(await routeOf(stranger), 'pg2 fresh tables');
      await stranger.query("SET fairlead.consistency = 'strong'");
      await stranger.query('SELECT note FROM quiet');
      assert.equal(await routeOf(stranger), 'pg2 fresh tables');
      await stranger.query("SET fairlead.consistency = 'eventual'");
      await stranger.query('SELECT note FROM quiet');
      assert.equal(await routeOf(stranger), 'pg2 fresh tables');
      await stranger.query("SET fairlead.max_staleness = '2s'");
      await stranger.query('SELECT note FROM quiet');
      assert.equal(await routeOf(stranger), 'pg2 fresh tables');
      await stranger.query('SELECT count(*) FROM busy');
      assert.equal(await routeOf(stranger), 'pg1 no fresh replica');
    });
    const ready = async () => (await topology()) === 'up';
    await until(ready, { what: 'the replica to have caught up' });
  });

  const topology = async () => fairlead.app.cluster.topology.value.byName.get('pg2')?.state;

  for (const { what, write, read } of REACHED) {
    it(`see what was written ${what}`, async () => {
      const [own, other] = [await connect(), await connect()];
      const ddl = /\b(CREATE|ALTER|REFRESH)\b/.test(write);
      await settle(own, ddl ? undefined : write);
      await whileReplayIsPaused(cluster, ['pg2'], async () => {
        await own.query(write);
        const expected = await expectedOf(read);
        assert.equal(await own.value(read), expected, `${await routeOf(own)}`);
        assert.match(await routeOf(own), /^pg1 /);
        await own.query('SELECT note FROM quiet');
        // otherwise what was read would prove nothing
        if (!ddl) assert.equal(await routeOf(own), 'pg2 fresh tables');
        // whoever reads with `strong` must see it however it was written
        await primary.query(write.includes('CREATE TABLE') ? 'SELECT 1' : write).catch(() => {});
        const now = await expectedOf(read);
        await other.query("SET fairlead.consistency = 'strong'");
        assert.equal(await other.value(read), now, `${await routeOf(other)}`);
      });
    });
  }

  async function expectedOf(read: string): Promise<string | null> {
    const direct = await RawClient.connect(primary.url);
    try {
      await direct.query('SET search_path = other, public');
      return await direct.value(read);
    } finally {
      direct.vanish();
    }
  }

  it('see what a row security policy reads', async () => {
    const url = new URL(fairlead.url);
    url.username = 'reader';
    url.password = 'reader';
    const client = await RawClient.connect(url.href);
    open.push(client);
    await settle(await connect());
    await whileReplayIsPaused(cluster, ['pg2'], async () => {
      await client.query('SELECT count(*) FROM guarded');
      await primary.query('INSERT INTO allowed VALUES (2), (3)');
      await client.query("SET fairlead.consistency = 'strong'");
      assert.equal(await client.value('SELECT count(*) FROM guarded'), '3');
    });
  });
});
