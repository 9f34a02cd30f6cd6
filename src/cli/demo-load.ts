import pg from 'pg';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { sleep } from '../core/sleep.ts';

const CLIENTS = 4;
/** Pause of each client between rounds of one write and some reads: a few hundred statements a second in all. */
const PAUSE_MS = 40;
const READS_PER_WRITE = 4;
const ROWS = 1000;

/** A small mixed workload through the proxy, so that the dashboard has something to show. */
export class DemoLoad {
  readonly #url: string;
  readonly #log: Log;
  readonly #stopping = new AbortController();
  readonly #open = new Set<pg.Client>();
  #runs: Promise<void>[] = [];

  constructor(url: string, log: Log) {
    this.#url = url;
    this.#log = log;
  }

  /** Makes its table and starts; errors while running are logged and survived. */
  async start(): Promise<void> {
    const client = await this.#connect();
    try {
      await client.query('CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY, amount int NOT NULL, at timestamptz)');
      await client.query(
        'INSERT INTO orders SELECT i, i, now() FROM generate_series(1, $1::int) i ON CONFLICT DO NOTHING',
        [ROWS],
      );
    } finally {
      await client.end();
    }
    this.#runs = Array.from({ length: CLIENTS }, () => this.#run());
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    // a statement may be held while there is no primary: nobody waits for its answer
    for (const client of this.#open) client.end().catch(() => {});
    await Promise.all(this.#runs);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      let client: pg.Client | null = null;
      try {
        client = await this.#connect();
        while (!signal.aborted) {
          await round(client);
          await sleep(PAUSE_MS * (0.5 + Math.random()), signal);
        }
      } catch (error) {
        if (!signal.aborted) this.#log.info({ error: messageOf(error) }, 'the load met an error and goes on');
        await sleep(500, signal);
      } finally {
        if (client !== null) this.#open.delete(client);
        client?.end().catch(() => {});
      }
    }
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.#url, application_name: 'demo load', query_timeout: 40_000 });
    client.on('error', () => {});
    this.#open.add(client);
    await client.connect();
    return client;
  }
}

const anyId = () => 1 + Math.floor(Math.random() * ROWS);

async function round(client: pg.Client): Promise<void> {
  await client.query('UPDATE orders SET amount = amount + 1, at = now() WHERE id = $1', [anyId()]);
  for (let i = 0; i < READS_PER_WRITE; i++) await client.query('SELECT amount FROM orders WHERE id = $1', [anyId()]);
}
