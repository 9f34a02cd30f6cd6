import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LaggingScene } from '../support/lagging-scene.ts';
import { until } from '../support/wait.ts';

/** In this time a commit is looked into, if nothing else was to be looked at before. */
const LOOK_MS = 3000;

const SCHEMA = `
CREATE TABLE calm (id int);
CREATE TABLE counted (id int);
CREATE FUNCTION count_hidden() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM counted); END';
CREATE FUNCTION with_default(x bigint DEFAULT count_hidden()) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT x';
CREATE ROLE members;
CREATE ROLE others;
CREATE TABLE guarded (id int);
INSERT INTO guarded SELECT generate_series(1, 10);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_members ON guarded FOR SELECT TO members USING (true);
CREATE POLICY of_others ON guarded FOR SELECT TO others USING (id = 1);
CREATE TABLE moved (id int PRIMARY KEY, text text);
INSERT INTO moved SELECT i, repeat('x', 500) FROM generate_series(1, 100) i;
DELETE FROM moved WHERE id < 90;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE moods (m mood);
INSERT INTO moods VALUES ('sad');
CREATE VIEW shown AS SELECT count(*) AS n FROM quiet;
CREATE ROLE one;
CREATE ROLE two;
GRANT ALL ON SCHEMA public TO one, two;
CREATE TABLE owned (id int);
INSERT INTO owned VALUES (1), (2);
ALTER TABLE owned OWNER TO one;
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON owned TO two;
CREATE VIEW of_owner AS SELECT count(*) AS n FROM owned;
ALTER VIEW of_owner OWNER TO one;
`;

type Case = {
  readonly what: string;
  readonly write: string;
  readonly read: string;
  /** Before PostgreSQL 17. */
  readonly before17?: string;
  /** Who reads; left out: the superuser. */
  readonly as?: 'reader';
};

/** No row of a table tells of these, and for most of them no event trigger fires. */
const CASES: readonly Case[] = [
  {
    what: 'a role that was granted',
    write: 'GRANT members TO reader',
    read: 'SELECT count(*) FROM guarded',
    as: 'reader',
  },
  {
    what: 'a role that was revoked',
    write: 'REVOKE members FROM reader',
    read: 'SELECT count(*) FROM guarded',
    as: 'reader',
  },
  {
    what: 'an attribute of a role',
    write: 'ALTER ROLE reader BYPASSRLS',
    read: 'SELECT count(*) FROM guarded',
    as: 'reader',
  },
  { what: 'another owner', write: 'REASSIGN OWNED BY one TO two', read: 'SELECT n FROM of_owner' },
  { what: 'rows that were moved', write: 'VACUUM FULL moved', read: 'SELECT min(ctid)::text FROM moved' },
  {
    what: 'rows that were locked',
    write: 'SELECT id FROM moved WHERE id = 95 FOR UPDATE',
    read: 'SELECT xmax::text FROM moved WHERE id = 95',
  },
  {
    what: 'a catalog that was written to',
    write: "UPDATE pg_enum SET enumlabel = 'glad' WHERE enumlabel = 'sad'",
    read: 'SELECT m::text FROM moods',
  },
  {
    what: 'another table of that name, by its name',
    write: 'CREATE TABLE other.calm (id int)',
    read: "SELECT 'calm'::regclass::oid::text",
  },
  {
    what: 'another row type of that name',
    write: 'CREATE TABLE other.counted (id int, more int)',
    read: "SELECT json_populate_record(NULL::counted, '{}')::text",
  },
  { what: 'what a default calls', write: 'INSERT INTO public.counted VALUES (1)', read: 'SELECT with_default()' },
  {
    what: 'DDL while event triggers are off',
    write:
      'SET event_triggers = off; CREATE OR REPLACE VIEW shown AS SELECT 100 + count(*) AS n FROM quiet; RESET event_triggers',
    before17:
      'BEGIN; ALTER EVENT TRIGGER fairlead_ddl_end DISABLE; CREATE OR REPLACE VIEW shown AS SELECT 100 + count(*) AS n FROM quiet; ALTER EVENT TRIGGER fairlead_ddl_end ENABLE ALWAYS; COMMIT',
    read: 'SELECT n FROM shown',
  },
  {
    what: 'DDL behind the end of its event trigger',
    write:
      'BEGIN; DROP EVENT TRIGGER fairlead_ddl_end; CREATE OR REPLACE VIEW shown AS SELECT 200 + count(*) AS n FROM quiet; COMMIT',
    read: 'SELECT n FROM shown',
  },
];

describe('changes of which no row of the stream tells', () => {
  let scene: LaggingScene;
  let version = 0;
  before(async () => {
    scene = await LaggingScene.start(SCHEMA);
    version = Number(
      (await scene.primary.query<{ v: string }>("SELECT current_setting('server_version_num') AS v"))[0]?.v,
    );
  });
  after(() => scene?.stop());

  it('an ANALYZE counts for nothing once it is known that it was one', async () => {
    const client = await scene.connect();
    await scene.settle(client);
    // the look at the catalogs after marked DDL, such as this scene's own, may still be due: then nobody can tell what came after it
    const known = async () => {
      let onReplica = false;
      await scene.whilePaused(async () => {
        await scene.primary.query('ANALYZE moved');
        await client.query('INSERT INTO busy VALUES (1)');
        const endMs = performance.now() + LOOK_MS;
        while (!onReplica && performance.now() < endMs) {
          await client.query('SELECT note FROM quiet');
          onReplica = (await scene.routeOf(client)) === 'pg2 fresh tables';
        }
      });
      return onReplica;
    };
    await until(known, { what: 'the read on the replica', timeoutMs: 60_000 });
  });

  it('a cast to a domain that calls a function is not known to read nothing', async () => {
    await scene.primary.query(`CREATE DOMAIN odd AS int CHECK (count_hidden() >= 0); CREATE DOMAIN odder AS odd;
      CREATE VIEW in_view AS SELECT id::odd AS id FROM quiet`);
    const client = await scene.connect();
    await scene.settle(client);
    await scene.whilePaused(async () => {
      await client.query('INSERT INTO busy VALUES (1)');
      for (const text of ['SELECT 1::odd', 'SELECT 1::odder', 'SELECT * FROM in_view']) {
        await client.query(text);
        assert.match(await scene.routeOf(client), /^pg1 no (fresh )?replica$/, text);
      }
      await scene.untilRouted(client, 'SELECT note FROM quiet', 'pg2 fresh tables');
    });
  });

  it('an implicit cast by a function leaves nothing known of any statement', async () => {
    await scene.primary.query(`CREATE TYPE pair AS (x int);
      CREATE FUNCTION to_text(pair) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN count_hidden(); END';
      CREATE CAST (pair AS text) WITH FUNCTION to_text(pair) AS IMPLICIT`);
    const client = await scene.connect();
    const onPrimary = async () => {
      await scene.primary.query('INSERT INTO busy VALUES (1)');
      let route = '';
      await scene.whilePaused(async () => {
        await client.query('INSERT INTO busy VALUES (1)');
        await client.query('SELECT note FROM quiet');
        route = await scene.routeOf(client);
      });
      return /^pg1 no (fresh )?replica$/.test(route);
    };
    await until(onPrimary, { what: 'the cast to be known' });
    await scene.primary.query('DROP CAST (pair AS text)');
    await scene.settle(client);
  });

  for (const { what, write, before17, read, as } of CASES) {
    it(`count: ${what}`, async () => {
      const [own, reader] = [await scene.connect(), await scene.connect(as)];
      await scene.settle(own);
      await reader.value(read);
      await scene.whilePaused(async () => {
        await own.query(version < 170_000 ? (before17 ?? write) : write);
        const expected = await scene.expectedOf(read, as);
        await reader.query("SET fairlead.consistency = 'strong'");
        assert.equal(await reader.value(read), expected, await scene.routeOf(reader));
        if (as === undefined) assert.equal(await own.value(read), expected, await scene.routeOf(own));
      });
    });
  }
});
