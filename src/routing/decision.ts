import type { TopologyNode } from '../cluster/topology.ts';
import type { Lsn } from '../core/lsn.ts';
import type { Awaited } from './patience.ts';

/** Why a statement went where it went. The closed list is what metrics and the dashboard count by. */
export type RouteReason =
  | 'write' // must run on the primary
  | 'transaction' // explicit transaction that may write
  | 'pinned' // the session holds this server connection
  | 'session state' // SET and the like
  | 'copy'
  | 'unknown statement' // does not parse, or not understood
  | 'volatile function' // calls a function that may write
  | 'consistency primary' // the session asked for the primary
  | 'hint primary' // a comment asked for the primary
  | 'no replica' // none is readable
  | 'no fresh replica' // none caught up within freshness_wait
  | 'retry' // a replica refused or died; ran again on the primary
  | 'fresh replica' // had already replayed what the session must see
  | 'fresh tables' // the replica is behind, but not in any table that is read
  | 'caught up' // a replica, after a short wait
  | 'read only transaction' // on a replica
  | 'split transaction' // it has only read so far, on a replica
  | 'hint replica'; // a comment asked for a replica

/** Where to send a statement. */
export type RouteDecision =
  | {
      readonly kind: 'node';
      readonly node: TopologyNode;
      readonly reason: RouteReason;
      /** What a read on a replica must have seen; null: it is bound to nothing. */
      readonly floor: Lsn | null;
    }
  | Wait
  /** Hold: no primary. What `news` waits for may help as well; null: nothing but a primary does. */
  | { readonly kind: 'hold'; readonly news: Wait | null };

export type Wait =
  /** Wait until a replica reaches `lsn`, or the stream has told everything up to `told`, then ask again. `awaited`: null: any news will do. */
  | { readonly kind: 'wait'; readonly lsn: Lsn; readonly told: Lsn | null; readonly awaited: Awaited | null }
  /** Wait for a sample of the primary's position, then ask again. */
  | { readonly kind: 'sample'; readonly index: number };

/** All reasons in a fixed order: the index of a reason is its column wherever statements are counted. */
export const ROUTE_REASONS = [
  'write',
  'transaction',
  'pinned',
  'session state',
  'copy',
  'unknown statement',
  'volatile function',
  'consistency primary',
  'hint primary',
  'no replica',
  'no fresh replica',
  'retry',
  'fresh replica',
  'fresh tables',
  'caught up',
  'read only transaction',
  'split transaction',
  'hint replica',
] as const satisfies readonly RouteReason[];

/** The reasons that name a replica; every other one sends to the primary or follows a held connection. */
export const REPLICA_REASONS: ReadonlySet<RouteReason> = new Set<RouteReason>([
  'fresh replica',
  'fresh tables',
  'caught up',
  'read only transaction',
  'split transaction',
  'hint replica',
]);
