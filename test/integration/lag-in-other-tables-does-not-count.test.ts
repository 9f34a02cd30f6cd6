import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LaggingScene } from '../support/lagging-scene.ts';
import { show } from '../support/serving.ts';
import { until } from '../support/wait.ts';

/** `quiet` and `calm` are touched by nobody, `busy` by everybody; the others are the ways in which a statement reaches a table that it does not name. */
const SCHEMA = `
CREATE TABLE calm (id int);
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
CREATE TABLE other.quiet_twin (id int);
CREATE TABLE quiet_twin (id int);
CREATE TABLE renamed (id int);
CREATE TABLE renamed_to (id int);
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
  let scene: LaggingScene;
  before(async () => {
    scene = await LaggingScene.start(SCHEMA);
  });
  after(() => scene?.stop());

  it('stay on a replica that is behind in others, whoever wrote there, beyond max_lag too', async () => {
    const client = await scene.connect();
    await scene.settle(client);
    await scene.whilePaused(async () => {
      await client.query('INSERT INTO busy VALUES (1)');
      await scene.primary.query('INSERT INTO busy VALUES (2)');
      await scene.untilRouted(client, 'SELECT note FROM quiet', 'pg2 fresh tables');
      for (let i = 0; i < 20; i++) {
        await client.query('SELECT note FROM quiet');
        assert.equal(await scene.routeOf(client), 'pg2 fresh tables');
      }
      const both = 'SELECT count(*) FROM quiet q, calm c WHERE now() > $$2020-01-01$$';
      await scene.untilRouted(client, both, 'pg2 fresh tables');
      await client.query('SELECT count(*) FROM busy');
      assert.equal(await scene.routeOf(client), 'pg1 no fresh replica');
      const fresh = (await show(scene.fairlead.url, 'SHOW FRESHNESS')).map((row) => `${row.table} ${row.current_on}`);
      assert.ok(fresh.includes('public.busy '), fresh.join());
      assert.ok(fresh.includes('(any other) pg2'), fresh.join());
      const lagging = async () => {
        await scene.primary.query('INSERT INTO busy VALUES (3)');
        return scene.replicaState === 'lagging';
      };
      await until(lagging, { what: 'the replica to be beyond max_lag' });
      await scene.untilRouted(client, 'SELECT note FROM quiet', 'pg2 fresh tables');
      const stranger = await scene.connect();
      await scene.untilRouted(stranger, 'SELECT note FROM quiet', 'pg2 fresh tables');
      await stranger.query("SET fairlead.consistency = 'strong'");
      await scene.untilRouted(stranger, 'SELECT note FROM quiet', 'pg2 fresh tables');
      await stranger.query("SET fairlead.consistency = 'eventual'");
      await scene.untilRouted(stranger, 'SELECT note FROM quiet', 'pg2 fresh tables');
      await stranger.query("SET fairlead.max_staleness = '2s'");
      await scene.untilRouted(stranger, 'SELECT note FROM quiet', 'pg2 fresh tables');
      await stranger.query('SELECT count(*) FROM busy');
      assert.equal(await scene.routeOf(stranger), 'pg1 no fresh replica');
    });
    await until(() => scene.replicaState === 'up', { what: 'the replica to have caught up' });
  });

  for (const { what, write, read } of REACHED) {
    it(`see what was written ${what}`, async () => {
      const [own, other] = [await scene.connect(), await scene.connect()];
      const ddl = /\b(CREATE|ALTER|REFRESH)\b/.test(write);
      await scene.settle(own, ddl ? undefined : write);
      await scene.whilePaused(async () => {
        await own.query(write);
        const expected = await scene.expectedOf(read);
        assert.equal(await own.value(read), expected, `${await scene.routeOf(own)}`);
        assert.match(await scene.routeOf(own), /^pg1 /);
        // otherwise what was read would prove nothing
        if (!ddl) await scene.untilRouted(own, 'SELECT note FROM quiet', 'pg2 fresh tables');
        // whoever reads with `strong` must see it however it was written
        await scene.primary.query(write.includes('CREATE TABLE') ? 'SELECT 1' : write).catch(() => {});
        const now = await scene.expectedOf(read);
        await other.query("SET fairlead.consistency = 'strong'");
        assert.equal(await other.value(read), now, `${await scene.routeOf(other)}`);
      });
    });
  }

  it('see what a row security policy reads', async () => {
    const client = await scene.connect('reader');
    await scene.settle(await scene.connect());
    await scene.whilePaused(async () => {
      await client.query('SELECT count(*) FROM guarded');
      await scene.primary.query('INSERT INTO allowed VALUES (2), (3)');
      await client.query("SET fairlead.consistency = 'strong'");
      assert.equal(await client.value('SELECT count(*) FROM guarded'), '3');
    });
  });
});
