/** Sessions that keep their server connection, each in the middle of something else, and what they hear when that connection goes. */
import { bind, copyData, errorOf, execute, flush, type Message, parse, q, RawClient } from './raw-client.ts';
import type { TestCluster } from './test-cluster.ts';
import { until } from './wait.ts';

/** Seconds that no test waits for. */
const LONG = 600;

const SCHEMA = `
  CREATE TABLE kept (id int);
  CREATE TABLE slow (id int);
  CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(${LONG}); RETURN NEW; END';
  CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION linger();
  CREATE TABLE slow_copy (text text);
  CREATE TRIGGER linger BEFORE INSERT ON slow_copy FOR EACH ROW EXECUTE FUNCTION linger()`;

type State = {
  /** What the session gets when its server connection goes. */
  readonly sqlState: string;
  /** Brings it there; the server does not answer, and is waited for by `reached`. */
  enter(client: RawClient): Promise<void>;
  /** How the server's process looks then, in `pg_stat_activity`. */
  readonly reached: string;
};

const ASLEEP = `state = 'active' AND wait_event = 'PgSleep'`;
const IDLE = `state = 'idle'`;
const WRITING = `state = 'active' AND wait_event = 'ClientWrite'`;

/** Many rows, each of a length of its own, so that no buffer ends where one of them does. */
const ROWS = `repeat('x', 1000 + i % 997) FROM generate_series(1, 2000000) i`;

const STATES: Readonly<Record<string, State>> = {
  idle: { sqlState: '57P01', enter: async () => {}, reached: IDLE },
  'in a transaction': {
    sqlState: '57P01',
    enter: async (client) => {
      await client.query('BEGIN');
      await client.query(`INSERT INTO kept VALUES (1)`);
    },
    reached: `state = 'idle in transaction'`,
  },
  'in a failed transaction': {
    sqlState: '57P01',
    enter: async (client) => {
      await client.query('BEGIN');
      await client.query(`SELECT 1 / 0`).catch(() => {});
    },
    reached: `state = 'idle in transaction (aborted)'`,
  },
  'a read under way': {
    sqlState: '57P01',
    enter: async (client) => client.send(q(`SELECT count(*) FROM pg_sleep(${LONG})`)),
    reached: ASLEEP,
  },
  'a write under way': {
    sqlState: '08007',
    enter: async (client) => client.send(q(`INSERT INTO kept SELECT 2 FROM pg_sleep(${LONG})`)),
    reached: ASLEEP,
  },
  'a write under way in a transaction': {
    sqlState: '57P01',
    enter: async (client) => {
      await client.query('BEGIN');
      client.send(q(`INSERT INTO kept SELECT 3 FROM pg_sleep(${LONG})`));
    },
    reached: ASLEEP,
  },
  'COMMIT under way': {
    sqlState: '08007',
    enter: async (client) => {
      await client.query('BEGIN');
      await client.query('INSERT INTO slow VALUES (1)');
      client.send(q(`COMMIT`));
    },
    reached: ASLEEP,
  },
  'a batch without its end': {
    sqlState: '08007',
    enter: async (client) => {
      client.send(parse(`INSERT INTO kept VALUES (4)`), bind(), execute(), flush);
      await client.untilType('C');
    },
    reached: `state = 'active' AND wait_event = 'ClientRead'`,
  },
  'COPY that waits for data': {
    sqlState: '08007',
    enter: async (client) => {
      client.send(q(`COPY kept FROM STDIN`));
      await client.untilType('G');
      client.send(copyData('5\n'));
    },
    reached: `state = 'active' AND wait_event = 'ClientRead'`,
  },
  'COPY of more data than the server takes': {
    sqlState: '08007',
    enter: async (client) => {
      client.send(q(`COPY slow_copy FROM STDIN`));
      await client.untilType('G');
      await clog(client, copyData(`${'x'.repeat(60_000)}\n`));
    },
    reached: ASLEEP,
  },
  'COPY to a client that does not read': {
    sqlState: '57P01',
    enter: async (client) => {
      client.socket.pause();
      client.send(q(`COPY (SELECT ${ROWS}) TO STDOUT`));
    },
    reached: WRITING,
  },
  'rows for a client that does not read': {
    sqlState: '57P01',
    enter: async (client) => {
      client.socket.pause();
      client.send(q(`SELECT ${ROWS}`));
    },
    reached: WRITING,
  },
  'rows for a client that only sends': {
    sqlState: '57P01',
    enter: async (client) => {
      client.socket.pause();
      client.send(q(`SELECT ${ROWS}`));
      await clog(client, q(`SELECT '${'y'.repeat(60_000)}'`));
    },
    reached: WRITING,
  },
  'in the middle of a long statement': {
    sqlState: '08007',
    enter: async (client) => {
      const whole = q(`INSERT INTO kept SELECT length('${'z'.repeat(40 * 1024 * 1024)}')`);
      client.send(whole.subarray(0, 20 * 1024 * 1024));
    },
    // the statement is not there yet
    reached: `state = 'idle'`,
  },
};

/** Sends until nobody takes any more. */
async function clog({ socket }: RawClient, piece: Buffer): Promise<void> {
  let stuckSince = performance.now();
  let before = -1;
  await until(
    () => {
      while (!socket.writableNeedDrain) socket.write(piece);
      if (socket.writableLength !== before) stuckSince = performance.now();
      before = socket.writableLength;
      return performance.now() - stuckSince > 200;
    },
    { what: 'a client that nobody listens to' },
  );
}

export type Heard = {
  readonly severity: string;
  readonly sqlState: string;
  readonly message: string;
  readonly hint: string;
};

export class KeptSessions {
  readonly #clients = new Map<string, RawClient>();

  /** The tables that they need, on the primary. */
  static prepare(cluster: TestCluster, primary: string): Promise<unknown> {
    return cluster.node(primary).query(SCHEMA);
  }

  /** One in each state, on the primary. */
  static async open(url: string, cluster: TestCluster, primary: string): Promise<KeptSessions> {
    const kept = new KeptSessions();
    for (const [i, [name, state]] of Object.entries(STATES).entries()) {
      const mark = `kept ${i}`;
      const client = await RawClient.connect(url, { application_name: mark });
      kept.#clients.set(name, client);
      if (i % 2 === 0) await client.query('CREATE TEMPORARY TABLE mine (id int)');
      else await client.query(`SELECT pg_advisory_lock(${1000 + i})`);
      await state.enter(client);
      const there = `SELECT FROM pg_stat_activity WHERE application_name = $1 AND ${state.reached}`;
      await until(async () => (await cluster.node(primary).query(there, [mark])).length > 0, { what: name });
    }
    return kept;
  }

  close(): void {
    for (const client of this.#clients.values()) client.socket.destroy();
  }

  /** What each has heard last when its connection is closed; null: nothing that told of the end. */
  async lastWords(): Promise<Record<string, Heard | null>> {
    const heard: Record<string, Heard | null> = {};
    for (const { socket } of this.#clients.values()) {
      // slowly: what was said last is still under way when the connection is closed
      socket.on('data', () => {
        socket.pause();
        setTimeout(() => socket.resume(), 5);
      });
      socket.resume();
    }
    for (const [name, client] of this.#clients) heard[name] = await lastWord(client);
    return heard;
  }

  static expected(): Record<string, string> {
    return Object.fromEntries(Object.entries(STATES).map(([name, { sqlState }]) => [name, `FATAL ${sqlState}`]));
  }
}

/** @throws Error when it does not end */
export async function lastWord(client: RawClient): Promise<Heard | null> {
  await until(() => client.ended, { what: 'the end of a connection' });
  const last = client.waiting.at(-1);
  return last?.type === 'E' ? heardIn(last) : null;
}

export function heardIn(message: Message): Heard {
  const { sqlState, message: text } = errorOf(message);
  const field = (code: string) =>
    new RegExp(`(?:^|\\0)${code}([^\\0]*)`).exec(message.body.toString('utf8'))?.[1] ?? '';
  return { severity: field('V'), sqlState, message: text, hint: field('H') };
}
