import { EXPECT, Exchange, type ExchangeOwner } from '../backend/exchange.ts';
import { closeStatement } from '../backend/prepared-statement.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import { agrees } from '../backend/statement-shape.ts';
import { nowMs } from '../core/clock.ts';
import { FairleadError } from '../core/errors.ts';
import { readErrorFields } from '../wire/fields.ts';
import { lengthAt } from '../wire/frame-reader.ts';
import { HEADER_BYTES, SERVER } from '../wire/message-type.ts';
import { SYNC } from '../wire/writer.ts';
import { type Batch, describeStatement, type SessionStatement } from './batch.ts';
import type { Link } from './link.ts';
import { SaidByServer } from './loss.ts';
import type { Variant } from './variant.ts';

/** PostgreSQL's words: drivers that prepare the statement again know them. */
const OUTDATED_TYPES = 'cached plan must not change result type';

/** Ends a transaction block as the server's own refusal would. */
const REFUSE = `DO $$BEGIN RAISE EXCEPTION SQLSTATE '0A000' USING MESSAGE = '${OUTDATED_TYPES}'; END$$`;

type Checked = (error: FairleadError | null) => void;

const NONE: readonly SessionStatement[] = [];

/** Statements of a batch of which it is not sure that a server connection has them with the types that the client relies on. */
export function doubtfulTypes(
  connection: ServerConnection,
  batch: Batch | null,
  variant: Variant,
): readonly SessionStatement[] {
  if (batch === null || batch.relied.length === 0) return NONE;
  let doubtful: SessionStatement[] | null = null;
  for (const statement of batch.relied) {
    if (agreed(connection, statement, variant) === true || doubtful?.includes(statement)) continue;
    doubtful ??= [];
    doubtful.push(statement);
  }
  return doubtful ?? NONE;
}

function agreed(connection: ServerConnection, { told, prepared }: SessionStatement, variant: Variant): boolean | null {
  return agrees(told, connection.statements.shapeOf(variant(prepared)));
}

/**
 * Refuses statements whose types are not what the client was once told, before any of them runs. On a connection that prepared them before DDL
 * the server does so itself; on another one they would run, and the client would read the rows by an outdated description. They are prepared
 * anew, for what the connection has may also be older than what the client was told.
 * @param inTransaction an open block, which an error ends
 */
export function checkTypes(
  link: Link,
  doubtful: readonly SessionStatement[],
  variant: Variant,
  inTransaction: boolean,
  then: Checked,
): void {
  if (doubtful.length === 0) return then(null);
  link.connection.afterCancel(() =>
    Description.ask(link, doubtful, variant, (error) => {
      // outside of a transaction block the server says it again when they run
      if (error !== null) return then(inTransaction && error.code !== 'connection_lost' ? error : null);
      if (doubtful.every((statement) => agreed(link.connection, statement, variant) !== false)) then(null);
      else refuse(link, inTransaction, then);
    }),
  );
}

function refuse(link: Link, inTransaction: boolean, then: Checked): void {
  const error = new FairleadError('outdated_types', OUTDATED_TYPES);
  if (!inTransaction) return then(error);
  link.ask(REFUSE, (_rows, lost) => then(lost?.code === 'connection_lost' ? null : error));
}

/** Has statements prepared anew and described, unseen by the client. */
class Description implements ExchangeOwner {
  readonly #done: Checked;
  #error: FairleadError | null = null;

  private constructor(done: Checked) {
    this.#done = done;
  }

  static ask(link: Link, statements: readonly SessionStatement[], variant: Variant, done: Checked): void {
    const { connection } = link;
    const exchange = new Exchange(new Description(done), true, nowMs());
    const bytes: Buffer[] = [];
    for (const { prepared } of statements) {
      const statement = variant(prepared);
      const entry = { statement, unnamed: false, clientName: null, before: null, told: null };
      if (connection.statements.has(statement)) {
        bytes.push(closeStatement(statement.serverName));
        exchange.expect(EXPECT.CLOSE_SKIP, entry);
      }
      bytes.push(statement.parse, describeStatement(statement.serverName));
      exchange.expect(EXPECT.PARSE_SKIP, entry);
      exchange.expect(EXPECT.DESCRIBE_STATEMENT, entry);
    }
    connection.submit(exchange, [...bytes, SYNC]);
  }

  reply(_exchange: Exchange, buffer: Buffer, start: number, end: number): void {
    for (let pos = start; pos + HEADER_BYTES <= end; pos += lengthAt(buffer, pos)) {
      if (buffer[pos] !== SERVER.ERROR || this.#error !== null) continue;
      const said = readErrorFields(buffer, pos, pos + lengthAt(buffer, pos));
      this.#error = new SaidByServer(said, '');
    }
  }

  copyIn(): void {}

  refused(): void {}

  finished(): void {
    this.#done(this.#error);
  }

  lost(_exchange: Exchange, error: FairleadError): void {
    this.#done(error);
  }
}
