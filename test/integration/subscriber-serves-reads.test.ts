import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { preflight } from '../../src/monitor/preflight.ts';
import type { RawClient } from '../support/raw-client.ts';
import { show } from '../support/serving.ts';
import { SUBSCRIPTION, SubscribedScene } from '../support/subscribed-scene.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
CREATE TABLE t (id int PRIMARY KEY, note text);
CREATE TABLE calm (id int PRIMARY KEY, note text);
CREATE TABLE elsewhere (id int PRIMARY KEY);
CREATE TABLE filtered (id int PRIMARY KEY);
CREATE TABLE narrow (id int PRIMARY KEY, a int, b int);
CREATE TABLE guarded (id int PRIMARY KEY);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE moods (id int PRIMARY KEY, m mood);
CREATE TABLE drifting (id int PRIMARY KEY, note text);
CREATE TABLE late (id int PRIMARY KEY);
CREATE VIEW over_t AS SELECT count(*) AS n FROM t;
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE SCHEMA other;
CREATE TABLE namesake (id int PRIMARY KEY);
CREATE TABLE other.namesake (id int PRIMARY KEY);
INSERT INTO calm VALUES (1, 'c')`;

/** From PostgreSQL 15 on. */
const IN_PART = 'filtered WHERE (id > 10), narrow (id, a),';

describe('a logical subscriber', () => {
  let scene: SubscribedScene;
  let client: RawClient;

  before(async () => {
    scene = await SubscribedScene.start(
      SCHEMA.replace(/;?\s*INSERT.*$/, ''),
      (
        major,
      ) => `CREATE PUBLICATION pub FOR TABLE t, calm, ${major < 15 ? '' : IN_PART} guarded, moods, drifting, namesake;
        INSERT INTO calm VALUES (1, 'c')`,
      'off',
    );
    client = await scene.connect();
    await show(scene.fairlead.url, 'DRAIN pg2');
    await scene.untilOn('sub', client, 'SELECT note FROM calm');
    await until(() => !scene.leftOut.some((text) => text.endsWith('is being copied')), {
      what: 'all tables',
      timeoutMs: 30_000,
    });
  });
  after(() => scene?.stop());

  it('is told apart from replicas', async () => {
    const node = await scene.node('sub');
    assert.equal(node?.role, 'subscriber');
    assert.equal(node?.state, 'up');
    assert.equal(node?.promotable, 'no');
    const inPart = ['public.filtered is published in part', 'public.narrow is published in part'];
    const leftOut = [
      'public.guarded is of a kind that is not read there',
      'public.moods is of a kind that is not read there',
      'public.namesake has a namesake there',
    ];
    assert.deepEqual(scene.leftOut, (scene.cluster.major < 15 ? leftOut : [...leftOut, ...inPart]).sort());
  });

  it('is looked at by fairlead check', async () => {
    const findings = await preflight(scene.config);
    assert.deepEqual(
      findings.filter(({ level }) => level === 'error').map(({ message }) => message),
      [],
    );
    assert.ok(findings.some(({ node, message }) => node === 'sub' && /, subscriber$/.test(message)));
    const { sub } = scene.config.cluster.nodes;
    const nodes = { ...scene.config.cluster.nodes, sub: { ...(sub as NonNullable<typeof sub>), subscription: 'none' } };
    const others = await preflight({ ...scene.config, cluster: { ...scene.config.cluster, nodes } });
    assert.match(others.find(({ node }) => node === 'sub')?.message ?? '', /there is no subscription none/);
  });

  it('shows each session what it has written', async () => {
    await scene.untilOn('sub', client, 'SELECT count(*) FROM t');
    let there = 0;
    // at first the stream has to find out what the table is called
    for (let i = 1; i <= 1000 && there < 40; i++) {
      await client.query(`INSERT INTO t VALUES (${-i}, 'n')`);
      assert.equal(await client.value('SELECT count(*) FROM t'), String(i));
      const [route] = await client.records('SHOW fairlead.route');
      if (route?.node === 'sub') there++;
    }
    assert.equal(there, 40);
  });

  it('shows what anybody has written before a read with strong consistency', async () => {
    const strong = await scene.connect();
    await strong.query("SET fairlead.consistency = 'strong'");
    for (let i = 1; i <= 10; i++) {
      await scene.primary.query(`UPDATE calm SET note = 'c${i}'`);
      assert.equal(await strong.value('SELECT note FROM calm'), `c${i}`);
    }
    await scene.untilOn('sub', strong, 'SELECT note FROM calm');
  });

  for (const consistency of ['eventual', 'session', 'strong']) {
    it(`serves ${consistency} reads within max_staleness`, async () => {
      const reader = await scene.connect();
      await reader.query(`SET fairlead.consistency = '${consistency}'`);
      await reader.query("SET fairlead.max_staleness = '2s'");
      await scene.untilOn('sub', reader, 'SELECT note FROM calm');
    });
  }

  for (const read of [
    'SELECT * FROM calm WHERE id BETWEEN 1 AND 5 ORDER BY note LIMIT 3',
    'SELECT c.id, upper(t.note), count(*) OVER () FROM calm c JOIN public.t ON t.id = c.id WHERE c.note LIKE $$c%$$',
    'WITH x AS (SELECT id::text AS i FROM t) SELECT max(i), now() FROM x WHERE i IN (SELECT id::text FROM calm)',
  ]) {
    it(`answers ${read}`, () => scene.untilOn('sub', client, read));
  }

  for (const read of [
    'SELECT count(*) FROM elsewhere',
    'SELECT count(*) FROM filtered',
    'SELECT count(*) FROM narrow',
    'SELECT count(*) FROM guarded',
    'SELECT count(*) FROM moods',
    'SELECT count(*) FROM namesake',
    'SELECT n FROM over_t',
    'SELECT twice(id) FROM t',
    "SELECT id FROM t WHERE 'sad'::mood IS NOT NULL",
    'SELECT count(*) FROM t, elsewhere',
    'SELECT count(*) FROM t, pg_class',
    'SELECT tableoid FROM t',
    'SELECT id, current_schema FROM t',
    'SELECT calm FROM calm',
    'SELECT array_agg(c) FROM calm c',
    'SELECT id FROM t ORDER BY note COLLATE "C"',
    'SELECT 1',
  ]) {
    it(`is not asked ${read}`, async () => {
      for (let i = 0; i < 3; i++) assert.match(await scene.routeOf(client, read), /^pg1 /);
    });
  }

  it('is not asked in transactions', async () => {
    await client.query('BEGIN READ ONLY');
    assert.match(await scene.routeOf(client, 'SELECT note FROM calm'), /^pg1 /);
    await client.query('COMMIT');
  });

  it('loses the reads of a table that it is behind in, and of that one only, and gets them back', async () => {
    const stranger = await scene.connect();
    await scene.untilOn('sub', stranger, 'SELECT note FROM calm');
    await scene.whileLocked('t', async () => {
      await client.query("INSERT INTO t VALUES (1001, 'n')");
      assert.equal(await client.value('SELECT count(*) FROM t WHERE id = 1001'), '1');
      assert.match(await scene.routeOf(client, 'SELECT count(*) FROM t'), /^pg1 no fresh replica/);
      await scene.untilOn('sub', client, 'SELECT note FROM calm');
    });
    await scene.untilOn('sub', client, 'SELECT count(*) FROM t');
    assert.equal(await client.value('SELECT count(*) FROM t WHERE id = 1001'), '1');
  });

  it('is left while its subscription is disabled', async () => {
    await scene.there(`ALTER SUBSCRIPTION ${SUBSCRIPTION} DISABLE`);
    await client.query("INSERT INTO t VALUES (1002, 'n')");
    assert.equal(await client.value('SELECT count(*) FROM t WHERE id = 1002'), '1');
    await until(async () => (await scene.node('sub'))?.state === 'detached', { what: 'it to be detached' });
    assert.match(await scene.routeOf(client, 'SELECT note FROM calm'), /^pg1 /);
    await scene.there(`ALTER SUBSCRIPTION ${SUBSCRIPTION} ENABLE`);
    await scene.untilOn('sub', client, 'SELECT count(*) FROM t WHERE id = 1002');
    assert.equal(await client.value('SELECT count(*) FROM t WHERE id = 1002'), '1');
  });

  it('shows nothing that is older when its server has crashed', async () => {
    const writer = await scene.connect();
    let crashing = true;
    const crashed = scene.crash().finally(() => {
      crashing = false;
    });
    let id = 5000;
    do {
      await writer.query(`INSERT INTO t VALUES (${++id}, 'n')`);
      assert.equal(await writer.value(`SELECT count(*) FROM t WHERE id = ${id}`), '1');
    } while (crashing);
    await crashed;
    await until(
      async () => {
        await writer.query(`INSERT INTO t VALUES (${++id}, 'n')`);
        assert.equal(await writer.value(`SELECT count(*) FROM t WHERE id BETWEEN 5001 AND ${id}`), String(id - 5000));
        const [route] = await writer.records('SHOW fairlead.route');
        return route?.node === 'sub';
      },
      { what: 'reads on it again', timeoutMs: 40_000 },
    );
  });

  it('does not show what a session has seen there to be gone elsewhere', async () => {
    await show(scene.fairlead.url, 'UNDRAIN pg2');
    const writer = await scene.connect();
    const reader = await scene.connect();
    const nodes = new Set<string | null | undefined>();
    let seen = 0;
    for (let i = 0; i < 100 || (!nodes.has('sub') && i < 1000); i++) {
      await writer.query(`INSERT INTO t VALUES (${2000 + i}, 'n')`);
      const count = Number(await reader.value('SELECT count(*) FROM t'));
      const [route] = await reader.records('SHOW fairlead.route');
      nodes.add(route?.node);
      assert.ok(count >= seen, `${count} after ${seen}`);
      seen = count;
      // the replica is away now and then, so that reads change places
      if (i % 10 === 0) await show(scene.fairlead.url, i % 20 === 0 ? 'DRAIN pg2' : 'UNDRAIN pg2');
    }
    assert.ok(nodes.has('sub'), [...nodes].join());
    await show(scene.fairlead.url, 'DRAIN pg2');
  });

  it('does not serve a table whose definition has changed on the primary, from that very moment', async () => {
    await client.query("INSERT INTO drifting VALUES (1, 'd')");
    await scene.untilOn('sub', client, 'SELECT * FROM drifting');
    const strong = await scene.connect();
    await strong.query("SET fairlead.consistency = 'strong'");
    await scene.untilOn('sub', strong, 'SELECT * FROM drifting');
    // by somebody else; written now it would stop the apply worker, which misses the column
    await scene.primary.query('ALTER TABLE drifting ADD COLUMN more int DEFAULT 5');
    assert.deepEqual(await strong.records('SELECT * FROM drifting'), [{ id: '1', note: 'd', more: '5' }]);
    assert.equal(await client.value('SELECT more FROM drifting'), '5');
    assert.match(await scene.routeOf(client, 'SELECT * FROM drifting'), /^pg1 /);
    await until(() => scene.leftOut.some((one) => /^public\.drifting differs/.test(one)), {
      what: 'the difference to be told',
    });
    await scene.there('ALTER TABLE drifting ADD COLUMN more int DEFAULT 5');
    await scene.untilOn('sub', client, 'SELECT * FROM drifting');
    assert.equal(await client.value('SELECT more FROM drifting'), '5');
  });

  it('does not serve a table that was changed there', async () => {
    await scene.there('ALTER TABLE drifting ALTER COLUMN note TYPE varchar(50)');
    await scene.untilOn('pg1', client, 'SELECT * FROM drifting');
    await until(() => scene.leftOut.some((one) => /^public\.drifting differs/.test(one)), {
      what: 'the difference to be told',
    });
    await scene.there('ALTER TABLE drifting ALTER COLUMN note TYPE text');
    await scene.untilOn('sub', client, 'SELECT * FROM drifting');
  });

  it('does not serve a table that is still being copied', async () => {
    await client.query('INSERT INTO late SELECT generate_series(1, 100)');
    await client.query('ALTER PUBLICATION pub ADD TABLE late');
    await scene.whileLocked('late', async () => {
      await scene.there(`ALTER SUBSCRIPTION ${SUBSCRIPTION} REFRESH PUBLICATION`);
      await until(() => scene.leftOut.some((one) => /^public\.late is being copied/.test(one)), {
        what: 'the copy to be told',
      });
      assert.equal(await client.value('SELECT count(*) FROM late'), '100');
      assert.match(await scene.routeOf(client, 'SELECT count(*) FROM late'), /^pg1 /);
    });
    await scene.untilOn('sub', client, 'SELECT count(*) FROM late');
    assert.equal(await client.value('SELECT count(*) FROM late'), '100');
  });

  it('does not serve a table whose publication leaves out changes, nor afterwards what it lacks', async () => {
    const [publishPart, write, publishAll] =
      scene.cluster.major < 15
        ? [
            "SET (publish = 'insert')",
            'DELETE FROM late WHERE id = 1',
            "SET (publish = 'insert, update, delete, truncate')",
          ]
        : [
            'SET TABLE t, calm, drifting, late WHERE (id > 1000)',
            'INSERT INTO late VALUES (500)',
            'SET TABLE t, calm, drifting, late',
          ];
    const before = Number(await client.value('SELECT count(*) FROM late'));
    await client.query(`ALTER PUBLICATION pub ${publishPart}`);
    await client.query(write);
    const rows = await client.value('SELECT count(*) FROM late');
    assert.notEqual(Number(rows), before);
    await until(() => scene.leftOut.some((one) => /^public\.late is published in part/.test(one)), {
      what: 'the part to be told',
    });
    assert.match(await scene.routeOf(client, 'SELECT count(*) FROM late'), /^pg1 /);
    await client.query(`ALTER PUBLICATION pub ${publishAll}`);
    await until(() => scene.leftOut.some((one) => /^public\.late was published in part/.test(one)), {
      what: 'what is missing to be told',
    });
    assert.equal(await client.value('SELECT count(*) FROM late'), rows);
    assert.match(await scene.routeOf(client, 'SELECT count(*) FROM late'), /^pg1 /);
  });
});
