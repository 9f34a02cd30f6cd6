import { Exchange, type ExchangeOwner } from '../backend/exchange.ts';
import type { Link } from './link.ts';
import { submitStandIns } from './name-use.ts';
import type { Variant } from './variant.ts';
import { endOf, owesSync, type Work } from './work.ts';

/** How a request goes out. */
export type Manner = {
  readonly variant: Variant;
  /** Decides which errors are kept from the client for another try; null: none. */
  readonly refusable: ((sqlState: string) => boolean) | null;
  /** ReadyForQuery is ours to say. */
  readonly swallowReady: boolean;
};

/** The exchange of a request on the connection that was found for it, and what goes to the server with it. */
export function requestExchange(
  owner: ExchangeOwner,
  { connection }: Link,
  work: Work,
  { variant, refusable, swallowReady }: Manner,
): { readonly exchange: Exchange; readonly bytes: Buffer[] } {
  const { batch, use, raw } = work;
  const exchange = new Exchange(owner, batch !== null, work.startedMs);
  exchange.syncOwed = owesSync(work);
  submitStandIns(connection, use, variant);
  const bytes = batch?.encode(connection, exchange, variant, exchange.syncOwed ? 'flush' : endOf(work)) ?? [];
  if (raw !== null) {
    bytes.push(raw);
    exchange.expectQuery(use?.deallocation ?? null);
  }
  exchange.holdBack(refusable);
  exchange.open = batch !== null && !work.synced && !work.describeOnly;
  exchange.swallowReady = swallowReady;
  return { exchange, bytes };
}
