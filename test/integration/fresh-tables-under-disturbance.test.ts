import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sleep } from '../../src/core/sleep.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { Connection } from '../support/connection.ts';
import { startFairlead } from '../support/fairlead.ts';
import { randomFrom } from '../support/random.ts';
import { SEED } from '../support/seed.ts';
import { untilServing } from '../support/serving.ts';
import { until } from '../support/wait.ts';

/** FAIRLEAD_ROUNDS reads through replicas that were behind, but not in what was read. */
const ROUNDS = Number(process.env.FAIRLEAD_ROUNDS ?? 300);

const SCHEMA = `
CREATE TABLE plain (n int); CREATE TABLE emptied (n int); CREATE TABLE "Odd, name" (n int);
CREATE TABLE parent (n int); CREATE TABLE child () INHERITS (parent);
CREATE TABLE parted (k int, n int) PARTITION BY LIST (k); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE called (n int); CREATE FUNCTION call_it() RETURNS int LANGUAGE sql STABLE AS 'SELECT max(n) FROM called';
CREATE TABLE viewed (n int); CREATE VIEW over_viewed AS SELECT n FROM viewed;
INSERT INTO plain VALUES (0); INSERT INTO emptied VALUES (0); INSERT INTO "Odd, name" VALUES (0); INSERT INTO child VALUES (0);
INSERT INTO parted VALUES (1, 0); INSERT INTO called VALUES (0); INSERT INTO viewed VALUES (0);
CREATE TABLE noise (id int, t text)`;

/** Ways to a number that only rises. */
const COUNTERS = [
  { write: 'UPDATE plain SET n = $1', read: 'SELECT max(n) FROM plain' },
  { write: 'UPDATE emptied SET n = $1', read: 'SELECT max(n) FROM emptied' },
  { write: 'UPDATE "Odd, name" SET n = $1', read: 'SELECT max(n) FROM "Odd, name"' },
  { write: 'UPDATE child SET n = $1', read: 'SELECT max(n) FROM parent' },
  { write: 'UPDATE parted_1 SET n = $1', read: 'SELECT max(n) FROM parted' },
  { write: 'UPDATE called SET n = $1', read: 'SELECT call_it()' },
  { write: 'UPDATE viewed SET n = $1', read: 'SELECT max(n) FROM over_viewed' },
] as const;

/** What may happen on the primary beside everything else. `$k` is another number each time, `$n` the counter's next. */
const DISTURBANCES: readonly { readonly counter: number | null; readonly text: string }[] = [
  {
    counter: 0,
    text: 'BEGIN; CREATE TABLE next (n int); ALTER TABLE plain RENAME TO gone_$k; ALTER TABLE next RENAME TO plain; INSERT INTO plain VALUES ($n); COMMIT',
  },
  { counter: 1, text: 'BEGIN; TRUNCATE emptied; INSERT INTO emptied VALUES ($n); COMMIT' },
  {
    counter: 6,
    text: 'BEGIN; CREATE TABLE other_$k AS SELECT $n AS n; CREATE OR REPLACE VIEW over_viewed AS SELECT n FROM other_$k; ALTER TABLE viewed RENAME TO was_$k; ALTER TABLE other_$k RENAME TO viewed; COMMIT',
  },
  { counter: 2, text: `BEGIN; UPDATE "Odd, name" SET n = $n; PREPARE TRANSACTION 'p$k'; COMMIT PREPARED 'p$k'` },
  { counter: null, text: 'CREATE TABLE new_$k (id int); CREATE INDEX ON new_$k (id)' },
  { counter: null, text: 'ANALYZE' },
  { counter: null, text: "INSERT INTO noise SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i" },
  { counter: null, text: 'TRUNCATE noise' },
  {
    counter: null,
    text: "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'fairlead-stream'",
  },
];

class Scene {
  readonly wrong: string[] = [];
  /** Reads on replicas that were behind. */
  behind = 0;
  readonly #random = randomFrom(SEED);
  readonly #next = COUNTERS.map(() => 0);
  /** What anybody was told is there. */
  readonly #acknowledged = COUNTERS.map(() => 0);
  /** Of each counter there is one writer at a time. */
  readonly #turns: Promise<void>[] = COUNTERS.map(() => Promise.resolve());
  #over = false;

  end(): void {
    this.#over = true;
  }

  #write(counter: number, run: (n: number) => Promise<unknown>): Promise<number> {
    const written = (this.#turns[counter] as Promise<void>).then(async () => {
      const n = (this.#next[counter] as number) + 1;
      this.#next[counter] = n;
      await run(n);
      this.#acknowledged[counter] = n;
      return n;
    });
    this.#turns[counter] = written.then(
      () => {},
      () => {},
    );
    return written;
  }

  async #read(connection: Connection, counter: number, atLeast: number, who: string): Promise<number> {
    const { read } = COUNTERS[counter] as (typeof COUNTERS)[number];
    const [values, name] = this.#random.int(2) === 0 ? [[], `read_${counter}`] : [];
    const rows = await connection.rows<Record<string, number>>(read, values, name);
    const seen = Number(Object.values(rows[0] ?? {})[0]);
    const [route] = await connection.rows<{ node: string; reason: string }>('SHOW fairlead.route');
    if (route?.reason === 'fresh tables') this.behind++;
    if (seen < atLeast)
      this.wrong.push(`${who}: ${read} gave ${seen} on ${route?.node} (${route?.reason}), there was ${atLeast}`);
    return seen;
  }

  async session(connection: Connection): Promise<void> {
    const seen = COUNTERS.map(() => 0);
    while (!this.#over) {
      const counter = this.#random.int(COUNTERS.length);
      const { write } = COUNTERS[counter] as (typeof COUNTERS)[number];
      if (this.#random.int(7) === 0) seen[counter] = await this.#write(counter, (n) => connection.rows(write, [n]));
      else seen[counter] = await this.#read(connection, counter, seen[counter] as number, 'session');
      await sleep(this.#random.int(4));
    }
  }

  async strong(connection: Connection): Promise<void> {
    await connection.rows("SET fairlead.consistency = 'strong'");
    while (!this.#over) {
      const counter = this.#random.int(COUNTERS.length);
      await this.#read(connection, counter, this.#acknowledged[counter] as number, 'strong');
      await sleep(3);
    }
  }

  /** Past Fairlead. */
  async disturb(connection: Connection): Promise<void> {
    for (let k = 0; !this.#over; k++) {
      const { counter, text } = DISTURBANCES[this.#random.int(DISTURBANCES.length)] as (typeof DISTURBANCES)[number];
      const run = async (n: number) => {
        for (const one of text.replaceAll('$k', String(k)).replaceAll('$n', String(n)).split('; '))
          await connection.rows(one);
      };
      if (counter === null) await run(0);
      else await this.#write(counter, run);
      await sleep(100 + this.#random.int(400));
    }
  }

  async pause(cluster: TestCluster, name: string): Promise<void> {
    const node = cluster.node(name);
    while (!this.#over) {
      await node.query('SELECT pg_wal_replay_pause()');
      await sleep(this.#random.int(1500));
      await node.query('SELECT pg_wal_replay_resume()');
      await sleep(this.#random.int(500));
    }
  }
}

describe(`reads of tables that have not changed (FAIRLEAD_SEED=${SEED})`, () => {
  for (const workers of [1, 2]) {
    it(`are never stale, whatever happens beside them; ${workers === 1 ? 'one process' : `${workers} workers`}`, {
      timeout: 280_000,
    }, async (t) => {
      const cluster = await startTestCluster({ replicas: 2, settings: { max_prepared_transactions: '10' } });
      const routing = { max_lag: '1s', freshness_wait: '50ms', audit: 0.2 };
      const fairlead = await startFairlead(cluster, { config: { workers, failover: { mode: 'off' }, routing } });
      const open: Connection[] = [];
      const scene = new Scene();
      const connect = async (url: string) => {
        const connection = await Connection.open(url);
        open.push(connection);
        return connection;
      };
      try {
        await untilServing(fairlead, 2);
        const { url } = cluster.node('pg1');
        await cluster.node('pg1').query(SCHEMA);
        const running = [
          ...(await Promise.all([1, 2, 3].map(() => connect(fairlead.url)))).map((one) => scene.session(one)),
          ...(await Promise.all([1, 2].map(() => connect(fairlead.url)))).map((one) => scene.strong(one)),
          scene.disturb(await connect(url)),
          scene.pause(cluster, 'pg2'),
          scene.pause(cluster, 'pg3'),
        ];
        const failed = Promise.race(running.map((one) => one.then(() => new Promise<never>(() => {}))));
        const enough = until(() => scene.behind >= ROUNDS || scene.wrong.length > 0, {
          what: `${ROUNDS} such reads`,
          timeoutMs: 240_000,
        });
        await Promise.race([enough, failed]);
        scene.end();
        await Promise.all(running);
        assert.deepEqual(scene.wrong.slice(0, 5), []);
        const { passed, violations, undecided } = fairlead.app.cluster.audit;
        t.diagnostic(`audited: ${passed} passed, ${undecided} undecided`);
        assert.equal(violations, 0);
        assert.ok(passed > 0);
      } finally {
        scene.end();
        await Promise.all(open.map((one) => one.close()));
        await fairlead.stop();
        await cluster.stop();
      }
    });
  }
});
