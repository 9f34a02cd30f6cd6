import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { COMMANDS } from '../../../src/console/commands.ts';
import { FairleadError } from '../../../src/core/errors.ts';
import { cstrings, message, query } from '../../../src/wire/writer.ts';
import { SYNCHRONY } from '../../support/synchrony.ts';
import { ConsoleFixture } from './fixture.ts';

const fixture = new ConsoleFixture();

async function withClient<T>(run: (client: pg.Client) => Promise<T>, database = 'fairlead'): Promise<T> {
  const client = new pg.Client({ host: '127.0.0.1', port: fixture.port, user: 'fairlead', database });
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
}

function rows(text: string, database = 'fairlead'): Promise<Record<string, unknown>[]> {
  return withClient(async (client) => (await client.query(text)).rows, database);
}

function bytesUntilClose(bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = fixture.raw();
    const received: Buffer[] = [];
    let sent = false;
    socket.on('data', (chunk) => {
      received.push(chunk);
      if (sent) return;
      sent = true;
      socket.write(bytes);
    });
    socket.on('close', () => resolve(Buffer.concat(received)));
    socket.on('error', reject);
  });
}

describe('ConsoleSession', () => {
  before(() => fixture.start());
  after(() => fixture.stop());

  it('answers every SHOW before anything is known, over both protocols', async () => {
    await withClient(async (client) => {
      for (const { words, columns } of COMMANDS) {
        if (words[0] !== 'SHOW' || columns === null) continue;
        const simple = await client.query(words.join(' '));
        assert.deepEqual(
          simple.fields.map((f) => f.name),
          Object.keys(columns as object),
        );
        const extended = await client.query({ text: words.join(' '), queryMode: 'extended' } as pg.QueryConfig);
        assert.deepEqual(
          extended.fields.map((f) => [f.name, f.dataTypeID]),
          simple.fields.map((f) => [f.name, f.dataTypeID]),
        );
        assert.equal(extended.command, 'SHOW');
      }
    });
  });

  it('shows nodes and their lag', async () => {
    fixture.healthy();
    const [primary, replica] = await rows('show nodes');
    assert.equal(primary?.name, 'pg1');
    assert.equal(primary?.role, 'primary');
    assert.equal(primary?.assigned, 'yes');
    assert.equal(replica?.state, 'up');
    assert.equal(replica?.zone, 'b');
    assert.equal(replica?.server_version, '18.4');
    const [, lag] = await rows('SHOW LAG;');
    assert.equal(lag?.lag_bytes, '0');
    assert.equal(lag?.lag_ms, 0);
    assert.equal(lag?.replay_lsn, '0/3000060');
    const state = Object.fromEntries((await rows('SHOW STATE')).map((r) => [r.key, r.value]));
    assert.equal(state.active, 'yes');
    assert.equal(state.primary, 'pg1');
    assert.equal(state.epoch, '3');
  });

  it('shows where acknowledged commits are, if Fairlead sees to that', async () => {
    assert.deepEqual(await rows('SHOW SYNC'), []);
    fixture.cluster.synchrony.set(SYNCHRONY);
    assert.deepEqual(await rows('SHOW SYNC'), [
      {
        mode: 'quorum',
        copies: 1,
        degrade: 'block',
        state: 'confirmed',
        confirmed_copies: 1,
        confirmed: '1 of pg2, pg3',
        setting: 'ANY 1 ("pg2", "pg3")',
        reason: 'acknowledged commits are on 1 of pg2, pg3',
      },
    ]);
    assert.deepEqual((await rows('SHOW NODES')).map(({ sync }) => sync).slice(0, 2), [null, 'quorum']);
    fixture.cluster.synchrony.set(null);
  });

  it('takes comments, any case, several statements, and nothing at all', async () => {
    await withClient(async (client) => {
      const results = (await client.query(
        '-- one\nshow /* nested /* comment */ */ version ; SHOW users;;',
      )) as unknown as pg.QueryResult[];
      assert.equal(results.length, 2);
      assert.deepEqual(results[0]?.rows, [{ version: 'fairlead 1.2.3' }]);
      assert.deepEqual(
        results[1]?.rows.map((r) => r.name),
        ['app', 'fairlead'],
      );
      assert.equal((await client.query(';')).rows.length, 0);
      assert.equal((await client.query({ text: '-- ping', queryMode: 'extended' } as pg.QueryConfig)).rows.length, 0);
    });
  });

  it('never shows a secret', async () => {
    const config = await rows('SHOW CONFIG');
    const text = JSON.stringify(config);
    assert.ok(!text.includes('secret'), text);
    const value = (key: string) => config.find((r) => r.key === key)?.value;
    assert.equal(value('cluster.password'), '********');
    assert.equal(value('auth.users.app.password'), '********');
    assert.equal(value('http_token'), '********');
    assert.equal(value('cluster.nodes.pg2.address'), '127.0.0.1:2');
    assert.equal(value('routing.max_lag'), '10s');
    assert.equal(value('failover.timeout'), '3s');
    assert.equal(value('listen'), '127.0.0.1:6432');
  });

  it('refuses what it does not know, and goes on', async () => {
    await withClient(async (client) => {
      const refused = (text: string | pg.QueryConfig) =>
        client.query(text as string).then(
          () => assert.fail('not refused'),
          (error: pg.DatabaseError) => error,
        );
      const error = await refused('SELECT 1');
      assert.equal(error.code, '42601');
      assert.match(error.hint ?? '', /SHOW HELP/);
      assert.equal((await refused('SHOW NODES pg1')).code, '42601');
      assert.equal((await refused('DRAIN')).code, '42601');
      assert.equal((await refused("SHOW 'NODES")).code, '42601');
      assert.equal((await refused('SHOW NODES; FOO; PAUSE')).code, '42601');
      assert.equal(fixture.cluster.operator.value.paused, false, 'what stands behind the error does not run');
      assert.equal((await refused({ text: 'FOO', queryMode: 'extended' } as pg.QueryConfig)).code, '42601');
      assert.equal((await refused({ text: 'DRAIN $1', values: ['pg2'] })).code, '0A000');
      assert.equal((await refused('DRAIN pg9')).code, '55000');
      assert.equal((await client.query('SHOW VERSION')).rows.length, 1);
    });
  });

  it('pauses, resumes, drains and undrains', async () => {
    await withClient(async (client) => {
      assert.equal((await client.query('PAUSE')).command, 'PAUSE');
      assert.equal(fixture.cluster.operator.value.paused, true);
      await client.query('RESUME;');
      assert.equal(fixture.cluster.operator.value.paused, false);
      await client.query('drain "PG2"');
      assert.deepEqual([...fixture.cluster.operator.value.drained], ['pg2']);
      assert.equal((await client.query('SHOW NODES')).rows[1].state, 'draining');
      await client.query({ text: 'UNDRAIN pg2', queryMode: 'extended' } as pg.QueryConfig);
      assert.equal(fixture.cluster.operator.value.drained.size, 0);
    });
  });

  it('switches over: what is sent meanwhile is answered afterwards, in order', async () => {
    await withClient(async (client) => {
      let open = () => {};
      fixture.gate = new Promise((resolve) => {
        open = resolve;
      });
      const order: string[] = [];
      const move = client.query('SWITCHOVER pg2').then((r) => {
        order.push('move');
        return r.rows;
      });
      const later = client.query('SHOW VERSION').then(() => order.push('version'));
      setImmediate(open);
      assert.deepEqual(await move, [{ primary: 'pg1', epoch: '3', took_ms: '120' }]);
      await later;
      assert.deepEqual(order, ['move', 'version']);
      await client.query('FAILOVER');
      await client.query('failover allow_data_loss');
      await assert.rejects(client.query('FAILOVER pg2'), /not known: pg2/);
      assert.deepEqual(fixture.asked, ['switchover pg2', 'failover', 'failover allowing data loss']);
    });
  });

  it('says what a switchover would do, and takes back one that is scheduled', async () => {
    await withClient(async (client) => {
      const { rows } = await client.query('SWITCHOVER PLAN pg2');
      assert.deepEqual(rows, [
        { step: 'target', meaning: 'pg2: it was asked for' },
        { step: 'not', meaning: 'pg3: pg2 was asked for' },
        { step: 'hold', meaning: 'statements wait' },
        { step: 'promote', meaning: 'pg2 is promoted' },
      ]);
      assert.equal(fixture.asked.at(-1), 'plan pg2');
      await assert.rejects(client.query('SWITCHOVER CANCEL'), /no switchover is scheduled or under way/);
    });
  });

  it('tells what a reload did, or why not', async () => {
    await withClient(async (client) => {
      const notices: string[] = [];
      client.on('notice', (notice) => notices.push(notice.message ?? ''));
      fixture.reloaded = [{ key: 'pool.size', live: true, text: 'pool.size: 20 → 30' }];
      assert.equal((await client.query('RELOAD')).command, 'RELOAD');
      assert.deepEqual(notices, ['pool.size: 20 → 30']);
      fixture.reloaded = new FairleadError('bad_config', 'fairlead.yaml: pool.size: not a number');
      await assert.rejects(client.query('RELOAD'), /pool\.size: not a number/);
    });
  });

  it('lists events with what was lost', async () => {
    fixture.events.unshift({
      id: 'e1',
      atMs: Date.UTC(2026, 0, 2, 3, 4, 5),
      kind: 'failover',
      epoch: 4,
      node: 'pg2',
      message: 'pg2 is the primary',
      lost: { bytes: 128, commits: 2, unproven: 0, fromLsn: null, toLsn: null },
      details: {},
    });
    assert.deepEqual(await rows('SHOW EVENTS 1'), [
      {
        time: '2026-01-02 03:04:05.000 UTC',
        kind: 'failover',
        epoch: '4',
        node: 'pg2',
        message: 'pg2 is the primary',
        lost_bytes: '128',
        lost_commits: '2',
      },
    ]);
    await assert.rejects(rows('SHOW EVENTS many'), /not a number of events/);
  });

  it('describes numbers as numbers and sends them in binary where asked', async () => {
    fixture.traffic.record(0, 'write', 'write', 2);
    fixture.pools.counters.of('shop').queries = 1_200_100;
    await withClient(async (client) => {
      const text = await client.query('SHOW TRAFFIC');
      const type = (name: string) => text.fields.find((f) => f.name === name)?.dataTypeID;
      assert.equal(type('total_query_count'), 20);
      assert.equal(type('read_share'), 701);
      assert.equal(text.rows[0].total_query_count, '1');
      const binary = await client.query({
        text: 'SHOW TRAFFIC',
        binary: true,
        queryMode: 'extended',
      } as pg.QueryConfig);
      assert.equal(String(binary.rows[0].total_query_count), '1');
      assert.equal(binary.rows[0].node, 'pg1');
      const stats = { text: 'SHOW STATS_TOTALS', queryMode: 'extended' };
      const asText = await client.query(stats as pg.QueryConfig);
      assert.equal(asText.fields[3]?.dataTypeID, 1700);
      assert.equal(asText.rows[0].query_count, '1200100');
      // without bytes over 127, which the driver would take for UTF-8
      const asBinary = await client.query({ ...stats, binary: true } as pg.QueryConfig);
      assert.equal(String(asBinary.rows[0].query_count), '1200100');
      assert.equal(String(asBinary.rows[0].bytes_sent), '0');
    });
  });

  it('is one row for each database and user to exporters for PgBouncer', async () => {
    const { nodes } = fixture.cluster.topology.value;
    const identity = { user: 'app', secret: null };
    fixture.pools.of(nodes[0] as never, 'rw', 'shop', identity);
    fixture.pools.of(nodes[1] as never, 'ro', 'shop', identity);
    assert.equal((await rows('SHOW POOLS')).length, 2);
    const merged = await rows('SHOW POOLS', 'pgbouncer');
    assert.equal(merged.length, 1);
    assert.equal(merged[0]?.database, 'shop');
    assert.equal((await rows('SHOW STATS', 'pgbouncer')).length, 1);
    assert.deepEqual(await rows('SHOW VERSION', 'pgbouncer'), [{ version: 'PgBouncer 1.25.2 (fairlead 1.2.3)' }]);
    const config = await rows('SHOW CONFIG', 'pgbouncer');
    const setting = (key: string) => config.find((row) => row.key === key);
    assert.equal(setting('max_client_conn')?.value, '10000');
    assert.equal(setting('server_lifetime')?.value, '3600');
    const names = (await rows('SHOW DATABASES', 'pgbouncer')).map((r) => r.name);
    assert.deepEqual(names, ['postgres', 'shop']);
  });

  it('pauses a database, disables it, and forgets both', async () => {
    await withClient(async (client) => {
      const { operator } = fixture.cluster;
      const notices: string[] = [];
      client.on('notice', (notice) => notices.push(notice.message ?? ''));
      await client.query('PAUSE shop; PAUSE shpo; RESUME shpo');
      assert.deepEqual(notices, ['nobody uses database shpo']);
      assert.deepEqual([...operator.value.pausedDatabases], ['shop']);
      await assert.rejects(client.query('PAUSE shop'), /already suspended\/paused/);
      const shown = (await client.query('SHOW DATABASES')).rows.find((row) => row.name === 'shop');
      assert.equal(shown.paused, 1);
      await client.query('RESUME shop');
      await assert.rejects(client.query('RESUME shop'), /database shop is not paused/);
      await assert.rejects(client.query('RESUME'), /not paused/);
      await client.query('DISABLE shop');
      assert.deepEqual([...operator.value.disabledDatabases], ['shop']);
      await client.query('ENABLE shop');
      assert.equal(operator.value.disabledDatabases.size, 0);
      await assert.rejects(client.query('PAUSE pgbouncer'), /is the admin console/);
      await assert.rejects(client.query('SUSPEND'), (error: pg.DatabaseError) => error.code === '0A000');
      await assert.rejects(client.query('SHOW FDS'), (error: pg.DatabaseError) => error.code === '0A000');
    });
  });

  it('shows operators among the clients', async () => {
    const [me] = await rows('SHOW CLIENTS', 'pgbouncer');
    assert.equal(me?.database, 'pgbouncer');
    assert.equal(me?.state, 'active');
    assert.equal(me?.user, 'fairlead');
    assert.equal((await rows('SHOW ACTIVE_SOCKETS')).length, 1);
    assert.equal((await rows('SHOW LISTS')).find((row) => row.list === 'used_clients')?.items, 1);
  });

  it('sets keys that may change while running, by our name or by that of PgBouncer', async () => {
    await withClient(async (client) => {
      const before = fixture.config;
      const notices: string[] = [];
      client.on('notice', (notice) => notices.push(notice.message ?? ''));
      await client.query('SET pool.size = 30');
      await client.query("SET query_wait_timeout = '2.5'");
      await client.query('SET pool.mode TO session');
      assert.deepEqual(notices, [
        'pool.size: 20 → 30',
        'pool.checkout_timeout: 15000 → 2500',
        'pool.mode: "transaction" → "session"',
      ]);
      assert.equal(fixture.config.pool.size, 30);
      await assert.rejects(client.query('SET pool.sise = 3'), /there is no key pool\.sise/);
      await assert.rejects(client.query('SET pool.size = many'), /pool\.size: write a number/);
      await assert.rejects(client.query("SET listen = '1'"), /cannot be set here/);
      await assert.rejects(client.query('SET auth.type = trust'), /cannot be set here/);
      fixture.config = before;
    });
  });

  it('lets those who may look only look', async () => {
    const before = fixture.config;
    fixture.config = { ...before, auth: { ...before.auth, stats_users: ['watch'] } };
    const client = new pg.Client({ host: '127.0.0.1', port: fixture.port, user: 'watch', database: 'fairlead' });
    await client.connect();
    try {
      assert.equal((await client.query('SHOW VERSION')).rows.length, 1);
      await client.query('SET application_name = watch');
      for (const text of ['PAUSE', 'RELOAD', 'SET pool.size = 3', 'KILL_CLIENT 1', 'SHUTDOWN', 'DRAIN pg2']) {
        await assert.rejects(client.query(text), (error: pg.DatabaseError) => error.code === '42501');
      }
    } finally {
      await client.end();
      fixture.config = before;
    }
    const other = new pg.Client({ host: '127.0.0.1', port: fixture.port, user: 'app', database: 'fairlead' });
    await assert.rejects(other.connect(), /may not use the admin console/);
  });

  it('shuts down in three ways', async () => {
    fixture.asked.length = 0;
    await withClient(async (client) => {
      await client.query('SHUTDOWN WAIT_FOR_CLIENTS');
      await client.query('SHUTDOWN wait_for_servers');
      await client.query('SHUTDOWN');
      await assert.rejects(client.query('SHUTDOWN NOW'), /syntax error/);
    });
    assert.deepEqual(fixture.asked, ['shutdown wait', 'shutdown drain', 'shutdown now']);
  });

  it('accepts what drivers say by themselves', async () => {
    await withClient(async (client) => {
      for (const text of ['BEGIN', "SET application_name = 'x; y'", 'COMMIT', 'DISCARD ALL']) await client.query(text);
      const types = await client.query({
        text: `select b.oid, b.typarray from pg_catalog.pg_type a left join pg_catalog.pg_type b on b.oid = a.typelem`,
        queryMode: 'extended',
      } as pg.QueryConfig);
      assert.deepEqual(types.rows, []);
    });
  });

  it('hands out rows in portions', async () => {
    await withClient(async (client) => {
      const result = await client.query({ text: 'SHOW HELP', rows: 3, queryMode: 'extended' } as pg.QueryConfig);
      assert.equal(result.rows.length, COMMANDS.filter((c) => c.help !== null).length);
    });
  });

  it('answers requests that come in one piece with the login, cut at every byte', async () => {
    const socket = fixture.raw();
    const received: Buffer[] = [];
    socket.on('data', (chunk) => received.push(chunk));
    socket.setNoDelay(true);
    for (const byte of query('SHOW VERSION')) socket.write(Buffer.from([byte]));
    socket.write(Buffer.concat([query('SHOW VERSION'), query('SHOW VERSION'), message(0x58, Buffer.alloc(0))]));
    await once(socket, 'close');
    const text = Buffer.concat(received).toString('latin1');
    assert.equal(text.split('fairlead 1.2.3').length - 1, 3);
  });

  it('ends the connection on garbage, with a reason', async () => {
    const noise = await bytesUntilClose(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    assert.match(noise.toString('latin1'), /08P01/);
    const shortLength = await bytesUntilClose(Buffer.from([0x51, 0, 0, 0, 1]));
    assert.match(shortLength.toString('latin1'), /message length 1/);
    const huge = await bytesUntilClose(Buffer.concat([Buffer.from([0x51, 0x7f, 0, 0, 0]), Buffer.alloc(70_000)]));
    assert.match(huge.toString('latin1'), /message of type Q with 2130706432 bytes/);
    const unterminated = await bytesUntilClose(message(0x51, Buffer.from('SHOW VERSION')));
    assert.match(unterminated.toString('latin1'), /terminator/);
  });

  it('answers malformed extended messages with an error and skips to Sync', async () => {
    const sync = message(0x53, Buffer.alloc(0));
    const ended = message(0x58, Buffer.alloc(0));
    const malformed = [
      message(0x50, Buffer.from('no end')),
      message(0x42, cstrings('', 'nothing')),
      message(0x42, Buffer.alloc(0)),
      message(0x44, Buffer.alloc(0)),
      message(0x45, cstrings('')),
      message(0x45, Buffer.concat([cstrings('gone'), Buffer.alloc(4)])),
    ];
    for (const bytes of malformed) {
      const answer = (await bytesUntilClose(Buffer.concat([bytes, bytes, sync, ended]))).toString('latin1');
      assert.equal(answer.split('SERROR').length - 1, 1, answer);
      assert.equal(answer.at(-6), 'Z');
    }
  });

  it('leaves no connection behind when clients vanish', async () => {
    const socket = fixture.raw();
    await once(socket, 'data');
    socket.write(query('SHOW HELP').subarray(0, 8));
    socket.destroy();
    await once(socket, 'close');
    for (let turn = 0; fixture.clients > 0 && turn < 4000; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(fixture.clients, 0);
  });
});
