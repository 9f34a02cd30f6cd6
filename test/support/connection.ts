import pg from 'pg';

/** A client's connection, as an application has it: it remembers when it ended without having been asked to. */
export class Connection {
  readonly client: pg.Client;
  /** Why it ended by itself; null while it is open. */
  lost: string | null = null;
  #closing = false;

  private constructor(client: pg.Client) {
    this.client = client;
    client.on('error', (error: Error & { code?: string }) => this.#end(`${error.code ?? ''} ${error.message}`.trim()));
    client.on('end', () => this.#end('the connection was closed'));
  }

  static async open(url: string, config: pg.ClientConfig = {}): Promise<Connection> {
    const connection = new Connection(new pg.Client({ connectionString: url, ...config }));
    await connection.client.connect();
    return connection;
  }

  /** Without values: the simple protocol; with values, even none: the extended one; with a name: prepared. */
  async rows<Row extends pg.QueryResultRow>(text: string, values?: unknown[], name?: string): Promise<Row[]> {
    const answer =
      values === undefined
        ? await this.client.query<Row>(text)
        : await this.client.query<Row>({
            text,
            values,
            ...(name === undefined ? { queryMode: 'extended' } : { name }),
          });
    return answer.rows;
  }

  /** The first row. */
  async row<Row extends pg.QueryResultRow>(text: string, values?: unknown[], name?: string): Promise<Row> {
    const [first] = await this.rows<Row>(text, values, name);
    if (first === undefined) throw new Error(`no row: ${text}`);
    return first;
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.client.end().catch(() => {});
  }

  #end(reason: string): void {
    if (!this.#closing) this.lost ??= reason;
  }
}

/** Opens many at once. */
export function openMany(url: string, count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, () => Connection.open(url)));
}

export function closeAll(connections: readonly Connection[]): Promise<unknown> {
  return Promise.all(connections.map((connection) => connection.close()));
}
