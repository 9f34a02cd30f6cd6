import { type Deallocation, EXPECT, Exchange, type ExchangeOwner } from '../backend/exchange.ts';
import { closeStatement, parseMessage } from '../backend/prepared-statement.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import { nowMs } from '../core/clock.ts';
import type { StatementUse, Verdict } from '../sql/verdict.ts';
import { SYNC } from '../wire/writer.ts';
import type { SessionStatement } from './batch.ts';
import type { Variant } from './variant.ts';

/**
 * A statement made by Parse, which servers know under another name, made there under its own name for a text of SQL that mentions it.
 * `statement` null: only that there is one of that name matters.
 */
export type StandIn = { readonly name: string; readonly statement: SessionStatement | null };

/** What SQL does with names of statements that the client has made by Parse. */
export type NameUse = {
  readonly standIns: readonly StandIn[];
  readonly deallocation: Deallocation | null;
  /** Verdicts on the statements that it executes. */
  readonly executes: readonly Verdict[];
};

/** An empty text without parameters. */
const NO_TEXT = Buffer.from([0, 0, 0]);

/** Reads what `uses` mean among `statements`; names that are deallocated are free from now on. Null: nothing. */
export function useNames(uses: readonly StatementUse[], statements: Map<string, SessionStatement>): NameUse | null {
  const standIns = standInsFor(uses, statements);
  const gone = new Map<string, SessionStatement>();
  const all = uses.some(({ kind, name }) => kind === 'deallocate' && name === null);
  for (const [name, statement] of statements) {
    // the unnamed one survives even DISCARD ALL
    const named = name !== '' && (all || uses.some((use) => use.kind === 'deallocate' && use.name === name));
    if (named) gone.set(name, statement);
  }
  for (const name of gone.keys()) statements.delete(name);
  const undone = [...gone].map(([name, { prepared }]) => ({ name, statement: prepared }));
  const deallocation = all || undone.length > 0 ? { gone: undone, all } : null;
  if (standIns.length === 0 && deallocation === null) return null;
  const executes = standIns.flatMap(({ statement }) => (statement === null ? [] : [statement.verdict]));
  return { standIns, deallocation, executes };
}

export function standInsFor(
  uses: readonly StatementUse[],
  statements: ReadonlyMap<string, SessionStatement>,
): StandIn[] {
  const standIns = new Map<string, StandIn>();
  for (const { kind, name } of uses) {
    const statement = name ? statements.get(name) : undefined;
    if (name === null || statement === undefined) continue;
    // the statement itself where it runs: elsewhere it must not fail because its tables are gone
    if (kind === 'execute' || !standIns.has(name)) {
      standIns.set(name, { name, statement: kind === 'execute' ? statement : null });
    }
  }
  return [...standIns.values()];
}

/** Messages that make stand-ins, in an exchange that may hold more. */
export function encodeStandIns(
  connection: ServerConnection,
  exchange: Exchange,
  standIns: readonly StandIn[],
  variant: Variant,
): Buffer[] {
  const out: Buffer[] = [];
  for (const { name, statement } of standIns) {
    const body = statement === null ? NO_TEXT : variant(statement.prepared).body;
    out.push(closeStatement(name), parseMessage(name, body));
    exchange.expect(EXPECT.CLOSE_SKIP);
    exchange.expect(EXPECT.PARSE_SKIP, null, name);
    connection.statements.standIns.add(name);
  }
  return out;
}

/** Nobody is interested in the answer. */
const NOBODY: ExchangeOwner = Object.freeze({
  reply() {},
  copyIn() {},
  finished() {},
  refused() {},
  lost() {},
});

/** Readies a connection for a request that uses these names, and rids it of what earlier ones have left. Does not wait for the answer. */
export function submitStandIns(connection: ServerConnection, use: NameUse | null, variant: Variant): void {
  const { statements } = connection;
  const standIns = use?.standIns ?? [];
  if (standIns.length === 0 && statements.standIns.size === 0) return;
  const exchange = new Exchange(NOBODY, true, nowMs());
  exchange.swallowReady = true;
  exchange.discard = true;
  const out: Buffer[] = [];
  for (const name of statements.standIns) {
    out.push(closeStatement(name));
    exchange.expect(EXPECT.CLOSE_SKIP);
  }
  statements.standIns.clear();
  connection.submit(exchange, [...out, ...encodeStandIns(connection, exchange, standIns, variant), SYNC]);
}
