/**
 * The same conversation with PostgreSQL itself and through Fairlead, on two clusters of the same version with the same content, message
 * by message.
 */
import assert from 'node:assert/strict';
import { startTestCluster, type TestCluster } from './cluster.ts';
import { startFairlead, type TestFairlead } from './fairlead.ts';
import { Neighbours, POOL_SIZE } from './neighbours.ts';
import { type Message, RawClient } from './raw-client.ts';
import { untilServing } from './serving.ts';
import { lineOf, Names } from './transcript.ts';
import { until } from './wait.ts';

/**
 * How far the answer to a step is read: so many ReadyForQuery, up to a message of one of these types, to the end of the connection, or up
 * to three ReadyForQuery in a row, the answer to as many Syncs.
 */
export type Until = number | string | 'end' | 'answered';

/** One turn of a conversation. */
export type Step =
  | { readonly kind: 'send'; readonly session: string; readonly bytes: readonly Buffer[]; readonly until: Until }
  /** Logs a session in with startup parameters; sessions that are not are logged in without any when they first speak. */
  | { readonly kind: 'connect'; readonly session: string; readonly parameters: Readonly<Record<string, string>> }
  | { readonly kind: 'cancel'; readonly session: string }
  /** The client goes without a word. */
  | { readonly kind: 'vanish'; readonly session: string }
  /** On the server itself, by the superuser, until it gives a row. */
  | { readonly kind: 'behind'; readonly text: string };

export type Conversation = {
  readonly name: string;
  /** On the primary itself, before anybody connects; besides the fixtures. */
  readonly setup?: string;
  readonly steps: readonly Step[];
  /** On the primary itself when all is over: what is not in the schema. */
  readonly cleanup?: string;
};

/** Ends every conversation: it is answered in any state of a session, and only then. */
const LAST_WORDS = 'the last words of this conversation';

/** FAIRLEAD_TEST_TRANSACTIONS=split lets transactions begin on the replica. */
const TRANSACTIONS = process.env.FAIRLEAD_TEST_TRANSACTIONS === 'split' ? 'split' : 'primary';

const PATIENCE_MS = 20_000;

const FIXTURES = `
  DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO public;
  CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2), at timestamptz, tags text[], data jsonb);
  INSERT INTO items SELECT i, 'item ' || i, i * 1.5, '2026-01-01 00:00:00Z'::timestamptz + i * interval '1 hour',
    ARRAY['a' || i, 'b'], jsonb_build_object('n', i) FROM generate_series(1, 20) i;
  CREATE TABLE log (id serial PRIMARY KEY, line text UNIQUE DEFERRABLE INITIALLY IMMEDIATE);
  CREATE FUNCTION writes(t text) RETURNS int LANGUAGE sql AS $$ INSERT INTO log (line) VALUES (t) RETURNING id $$;
  CREATE FUNCTION fails(t text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', t USING ERRCODE = 'ZZ001', HINT = 'none', DETAIL = 'all of it'; END $$;
  CREATE FUNCTION tells(t text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', t; RAISE WARNING 'warned'; RETURN 1; END $$;
  CREATE FUNCTION sets(n text, v text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config(n, v, false); RETURN v; END $$;
`;

type Side = {
  readonly url: string;
  readonly cluster: TestCluster;
  readonly neighbours: Neighbours | null;
  /** Kept open: setting up a case costs no login. */
  readonly admin: RawClient;
  readonly replica: RawClient | null;
};

export class Differential {
  readonly fairlead: TestFairlead;
  readonly #direct: Side;
  readonly #proxied: Side;

  private constructor(fairlead: TestFairlead, direct: Side, proxied: Side) {
    this.fairlead = fairlead;
    this.#direct = direct;
    this.#proxied = proxied;
  }

  static async start(): Promise<Differential> {
    const [alone, cluster] = await Promise.all([startTestCluster({ replicas: 0 }), startTestCluster({ replicas: 1 })]);
    const one = alone.node('pg1');
    for (const node of [one, cluster.node('pg1')]) await node.query('CREATE DATABASE compared');
    const fairlead = await startFairlead(cluster, {
      cluster: { database: 'compared' },
      config: { pool: { size: POOL_SIZE }, routing: { transactions: TRANSACTIONS } },
    });
    await untilServing(fairlead, 1);
    const at = (url: string) => url.replace(/\/postgres$/, '/compared');
    const direct: Side = {
      url: at(one.url),
      cluster: alone,
      neighbours: null,
      admin: await RawClient.connect(at(one.url)),
      replica: null,
    };
    const admin = await RawClient.connect(at(cluster.node('pg1').url));
    await untilReplayed(admin, await RawClient.connect(cluster.node('pg2').url));
    const replica = await RawClient.connect(at(cluster.node('pg2').url));
    await untilReplayed(admin, replica);
    const neighbours = await Neighbours.connect(at(fairlead.url));
    const proxied: Side = { url: at(fairlead.url), cluster, neighbours, admin, replica };
    return new Differential(fairlead, direct, proxied);
  }

  /** PostgreSQL's major version, on both sides. */
  get major(): number {
    return this.#direct.cluster.major;
  }

  /** @returns what was heard on each side, one line per message */
  async run(conversation: Conversation): Promise<{ readonly direct: string[]; readonly proxied: string[] }> {
    const [direct, proxied] = await Promise.all([
      converse(this.#direct, conversation),
      converse(this.#proxied, conversation),
    ]);
    return { direct, proxied };
  }

  /** Runs SQL on both primaries. */
  async both(text: string): Promise<void> {
    for (const { admin } of [this.#direct, this.#proxied]) await admin.query(text);
  }

  async stop(): Promise<void> {
    for (const side of [this.#direct, this.#proxied]) {
      side.neighbours?.close();
      side.admin.socket.destroy();
      side.replica?.socket.destroy();
    }
    await this.fairlead.stop();
    await Promise.all([this.#direct.cluster.stop(), this.#proxied.cluster.stop()]);
  }
}

async function untilReplayed(admin: RawClient, replica: RawClient): Promise<void> {
  const lsn = await admin.value('SELECT pg_current_wal_insert_lsn()');
  await until(async () => (await replica.value(`SELECT pg_last_wal_replay_lsn() >= '${lsn}'`)) === 't', {
    what: 'the replica to have it all',
    everyMs: 2,
  });
}

async function prepare(side: Side, text: string): Promise<void> {
  try {
    for (const [gid] of await side.admin.query('SELECT gid FROM pg_prepared_xacts')) {
      await side.admin.query(`ROLLBACK PREPARED '${gid}'`);
    }
    await side.admin.query(text);
  } catch (error) {
    const others =
      "SELECT application_name, state, query FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()";
    throw new Error(`${(error as Error).message}; there are ${JSON.stringify(await side.admin.query(others))}`);
  }
}

async function converse(side: Side, conversation: Conversation): Promise<string[]> {
  await prepare(
    side,
    `SET client_min_messages = error; SET statement_timeout = '20s'; ${FIXTURES} ${conversation.setup ?? ''}`,
  );
  if (side.replica !== null) await untilReplayed(side.admin, side.replica);
  const talk = new Talk(side);
  try {
    const sessions = new Set(conversation.steps.map((step) => (step.kind === 'behind' ? 'a' : step.session))).size;
    for (const step of conversation.steps) {
      await side.neighbours?.turn(sessions);
      await talk.step(step);
    }
    await talk.lastWords();
  } catch (error) {
    talk.lines.push(`! ${(error as Error).message}`);
  } finally {
    await talk.close();
    if (conversation.cleanup !== undefined) await side.admin.query(conversation.cleanup);
  }
  return talk.lines;
}

/** One run of a conversation on one side. */
class Talk {
  readonly lines: string[] = [];
  readonly #side: Side;
  readonly #names = new Names();
  readonly #sessions = new Map<string, RawClient>();
  readonly #gone = new Set<string>();

  constructor(side: Side) {
    this.#side = side;
  }

  async step(step: Step): Promise<void> {
    switch (step.kind) {
      case 'send': {
        const client = await this.#session(step.session);
        client.send(...step.bytes);
        return this.#hear(step.session, client, step.until);
      }
      case 'connect':
        return void (await this.#connect(step.session, step.parameters));
      case 'cancel':
        return (await this.#session(step.session)).cancel();
      case 'vanish':
        this.#gone.add(step.session);
        return (await this.#session(step.session)).vanish();
      case 'behind':
        await until(() => this.#behind(step.text), { what: step.text });
        return;
      default:
        step satisfies never;
    }
  }

  /** Whatever is still to come must come before the answer to this. */
  async lastWords(): Promise<void> {
    for (const [name, client] of this.#sessions) {
      if (client.ended || this.#gone.has(name)) continue;
      client.send(message('S'), message('Q', `${LAST_WORDS}\0`));
      const last = (m: Message) => m.type === 'E' && m.body.includes('"the"');
      let heard = false;
      while (!client.ended || client.waiting.length > 0) {
        const m = await this.#next(client);
        if (m === null) break;
        heard ||= last(m);
        this.#note(name, m, client);
        if (heard && m.type === 'Z') break;
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((client) => client.end().catch(() => {})));
  }

  async #session(name: string): Promise<RawClient> {
    return this.#sessions.get(name) ?? this.#connect(name, {});
  }

  async #connect(name: string, parameters: Readonly<Record<string, string>>): Promise<RawClient> {
    const url = new URL(this.#side.url);
    const { as, ...rest } = parameters;
    if (as !== undefined) {
      url.username = as;
      url.password = as;
    }
    const client = new RawClient(url.href);
    try {
      await client.logIn(rest);
    } catch (error) {
      this.lines.push(`${name} cannot connect: ${(error as { code?: string }).code} ${(error as Error).message}`);
      client.socket.destroy();
      throw error;
    }
    const told = [...client.parameters].map(([key, value]) => `${key}=${value}`).sort();
    this.lines.push(`${name} connects: ${told.join(', ')}`);
    this.#sessions.set(name, client);
    return client;
  }

  async #hear(name: string, client: RawClient, until: Until): Promise<void> {
    let ready = 0;
    let inRow = 0;
    for (;;) {
      if (until === 0) return;
      const m = await this.#next(client);
      if (m === null) {
        this.lines.push(`${name} ends`);
        return;
      }
      this.#note(name, m, client);
      if (m.type === 'Z') ready++;
      inRow = m.type === 'Z' ? inRow + 1 : 0;
      if (until === 'answered') {
        if (inRow === 3) return;
      } else if (typeof until === 'number' ? ready >= until : until !== 'end' && until.includes(m.type)) return;
    }
  }

  /** On the primary, and on the replica if there is one: either may run what is waited for. */
  async #behind(text: string): Promise<boolean> {
    for (const node of [this.#side.admin, this.#side.replica]) {
      if (node !== null && (await node.query(text)).length > 0) return true;
    }
    return false;
  }

  #note(name: string, m: Message, client: RawClient): void {
    this.lines.push(`${name} ${lineOf(m, this.#names, client.pid)}`);
  }

  /** Null when the connection has ended. */
  async #next(client: RawClient): Promise<Message | null> {
    try {
      return await client.next(PATIENCE_MS);
    } catch (error) {
      if (client.ended) return null;
      throw error;
    }
  }
}

function message(type: string, body = ''): Buffer {
  const out = Buffer.alloc(5 + Buffer.byteLength(body));
  out.write(type, 0, 'latin1');
  out.writeInt32BE(out.length - 1, 1);
  out.write(body, 5);
  return out;
}

/** Fails with both sides next to each other, from the first difference on. */
export function assertSame(heard: { readonly direct: string[]; readonly proxied: string[] }, what: string): void {
  const { direct, proxied } = heard;
  const at = firstDifference(direct, proxied);
  if (at === null) return;
  const around = (lines: string[]) =>
    lines
      .slice(Math.max(0, at - 4), at + 6)
      .map((line, i) => `${Math.max(0, at - 4) + i === at ? '>' : ' '} ${line}`)
      .join('\n');
  assert.fail(`${what}\n--- direct\n${around(direct)}\n--- through the proxy\n${around(proxied)}`);
}

export function firstDifference(a: readonly string[], b: readonly string[]): number | null {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) return i;
  return null;
}
