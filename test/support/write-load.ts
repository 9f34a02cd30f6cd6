import pg from 'pg';

/** Clients that insert, update and delete without pause, directly on a server, until they are told to stop. */
export class WriteLoad {
  readonly #clients: pg.Client[] = [];
  readonly #runs: Promise<void>[] = [];
  #stopping = false;
  /** Statements that were acknowledged. */
  acknowledged = 0;

  private constructor() {}

  static async start(url: string, table: string, clients = 3): Promise<WriteLoad> {
    const load = new WriteLoad();
    for (let i = 0; i < clients; i++) {
      const client = new pg.Client({ connectionString: url });
      client.on('error', () => {});
      await client.connect();
      load.#clients.push(client);
      if (i === 0) await client.query(`CREATE TABLE ${table} (id serial PRIMARY KEY, client int, n int, filler text)`);
      load.#runs.push(load.#run(client, table, i));
    }
    return load;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#runs);
    await Promise.all(this.#clients.map((client) => client.end().catch(() => {})));
  }

  /** Each in rows of its own: two that update the same ones in another order would be a deadlock. */
  async #run(client: pg.Client, table: string, own: number): Promise<void> {
    while (!this.#stopping) {
      await client.query(
        `INSERT INTO ${table} (client, n, filler) SELECT ${own}, n, repeat('x', 200) FROM generate_series(1, 20) n`,
      );
      await client.query(`UPDATE ${table} SET n = n + 1 WHERE client = ${own} AND n % 9 = 1`);
      await client.query(`DELETE FROM ${table} WHERE client = ${own} AND n % 19 = 1`);
      this.acknowledged += 3;
    }
  }
}

/** All rows of all ordinary tables of schema public, in one text for each. */
export const CHECKSUMS = `SELECT c.relname AS table,
    (xpath('/row/sum/text()', query_to_xml(format('SELECT count(*) || md5(coalesce(string_agg(md5(t::text), '''' ORDER BY md5(t::text)), '''')) AS sum FROM %I t', c.relname), false, true, '')))[1]::text AS sum
  FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1`;
