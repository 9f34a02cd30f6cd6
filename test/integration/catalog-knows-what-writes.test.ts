import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Catalog } from '../../src/sql/catalog.ts';
import { CATALOG_QUERY, type CatalogRow } from '../../src/sql/catalog-query.ts';
import { Classifier } from '../../src/sql/classifier.ts';
import { startTestCluster, type TestCluster, type TestNode } from '../support/cluster.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
CREATE TABLE t (a int);
CREATE TABLE guarded (a int);
CREATE SEQUENCE s;
CREATE VIEW plain AS SELECT a FROM t WHERE a > random();
CREATE VIEW advancing AS SELECT nextval('s') FROM t;
CREATE VIEW over_advancing AS SELECT * FROM advancing;
CREATE VIEW activity AS SELECT pid FROM pg_stat_activity;
CREATE VIEW counted AS SELECT last_value FROM s;
CREATE UNLOGGED TABLE scratch (a int);
CREATE TABLE parted (a int) PARTITION BY RANGE (a);
CREATE UNLOGGED TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (2);
CREATE FUNCTION same(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION mixed(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION mixed(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (1); RETURN 1; END';
CREATE FUNCTION mixed(int, int, int DEFAULT 3) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION summed(VARIADIC int[]) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION tenant(text) RETURNS text LANGUAGE plpgsql STABLE AS $$BEGIN RETURN set_config('App.Tenant', $1, false); END$$;
CREATE FUNCTION locks() RETURNS void LANGUAGE sql STABLE AS 'SELECT pg_advisory_lock(1)';
CREATE FUNCTION register(t) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (1); RETURN 1; END';
CREATE FUNCTION step(int, int) RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
CREATE AGGREGATE stepped(int) (SFUNC = step, STYPE = int, INITCOND = '0');
CREATE OPERATOR ?~? (LEFTARG = int, RIGHTARG = int, FUNCTION = step);
CREATE TYPE pair AS (x int);
CREATE FUNCTION to_pair(int) RETURNS pair LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN ROW(1); END';
CREATE CAST (int AS pair) WITH FUNCTION to_pair(int);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded FOR SELECT USING (step(1, 2) = 1);
`;

const READS = [
  'SELECT * FROM t',
  'SELECT * FROM plain',
  'SELECT same(1), mixed(1), mixed(1, 2), summed(1, 2, 3)',
  'SELECT random(), clock_timestamp(), gen_random_uuid(), now(), version(), inet_server_port(), pg_is_in_recovery()',
  "SELECT string_agg(relname::text, ',' ORDER BY relname), count(*) FROM pg_class GROUP BY relkind",
  "SELECT extract(year FROM now()), 'a' LIKE 'b', now() AT TIME ZONE 'UTC', substring('abc' FROM 2), position('a' IN 'b')",
  'SELECT * FROM information_schema.columns',
  'EXPLAIN ANALYZE SELECT * FROM t',
];

const WRITES = [
  'SELECT * FROM guarded',
  'SELECT * FROM advancing',
  'SELECT * FROM over_advancing',
  'SELECT * FROM activity',
  'SELECT * FROM counted',
  'SELECT * FROM s',
  'SELECT * FROM scratch',
  'SELECT * FROM parted',
  "SELECT mixed('1')",
  'SELECT mixed($1)',
  "SELECT tenant('a')",
  'SELECT locks()',
  'SELECT t.register FROM t',
  'SELECT stepped(a) FROM t',
  'SELECT 1 ?~? 2',
  'SELECT 1::pair',
  'SELECT unheard_of(1)',
  'SELECT txid_current()',
  // stable where there is one (13, 14), of the server that is asked
  'SELECT pg_backup_start_time()',
];

describe("the primary's catalog", () => {
  let cluster: TestCluster;
  let primary: TestNode;
  let replica: TestNode;
  let catalog: Catalog;
  const classifier = new Classifier({ maxEntries: 1000 });
  before(async () => {
    await Classifier.load();
    cluster = await startTestCluster({ replicas: 1 });
    primary = cluster.node('pg1');
    replica = cluster.node('pg2');
    await primary.query(SCHEMA);
    catalog = Catalog.from(await primary.query<CatalogRow>(CATALOG_QUERY));
    await until(async () => (await replica.query("SELECT to_regclass('guarded') AS found"))[0]?.found !== null, {
      what: 'the tables on the replica',
    });
  });
  after(async () => {
    await cluster?.stop();
  });

  for (const text of READS) {
    it(`reads, and a replica can: ${text}`, async () => {
      const verdict = classifier.classifyText(text, catalog);
      assert.equal(verdict.class, 'read', verdict.reason);
      await replica.query(text);
    });
  }
  for (const text of WRITES) {
    it(`needs the primary: ${text}`, () => assert.equal(classifier.classifyText(text, catalog).class, 'write'));
  }

  it('tells what functions leave behind', () => {
    const tenant = classifier.classifyText("SELECT tenant('a')", catalog);
    assert.deepEqual([tenant.changesSettings, tenant.settings], [true, ['app.tenant']]);
    assert.equal(classifier.classifyText('SELECT locks()', catalog).pin, 'session advisory lock');
  });

  it('is the same catalog while nothing changes, wherever it is read', async () => {
    assert.equal(Catalog.from(await primary.query<CatalogRow>(CATALOG_QUERY), catalog), catalog);
    assert.equal(Catalog.from(await replica.query<CatalogRow>(CATALOG_QUERY), catalog), catalog);
    await primary.query('CREATE FUNCTION another() RETURNS int LANGUAGE sql AS $$SELECT 1$$');
    assert.notEqual(Catalog.from(await primary.query<CatalogRow>(CATALOG_QUERY), catalog), catalog);
  });

  it('counts each function that a replica refuses to run as one that writes', async () => {
    // Every function of pg_catalog without arguments that the classifier calls a read must run on a standby.
    const names = await primary.query<{ name: string }>(
      `SELECT DISTINCT proname::text AS name FROM pg_proc WHERE pronargs = 0 AND provariadic = 0 AND prokind = 'f'
       AND pronamespace = 'pg_catalog'::regnamespace AND NOT 2281 = ANY (proargtypes) ORDER BY 1`,
    );
    const refused: string[] = [];
    for (const { name } of names) {
      if (classifier.classifyText(`SELECT pg_catalog.${name}()`, catalog).class !== 'read') continue;
      const error = await replica.query(`SELECT pg_catalog.${name}()`).then(
        () => null,
        (failure: { code?: string }) => failure.code,
      );
      // 25006 read_only_sql_transaction, 55000 object_not_in_prerequisite_state: "recovery is in progress"
      if (error === '25006' || error === '55000') refused.push(name);
    }
    assert.deepEqual(refused, []);
  });
});
