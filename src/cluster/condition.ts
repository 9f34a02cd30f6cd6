import type { LifeSign } from './life-signs.ts';
import { maybeDead } from './observation.ts';
import type { NodeRecord } from './observations.ts';

/** How a node is, by everything that is seen of it. One word for people and scripts. */
export type Condition =
  | 'answers'
  | 'refused' // its host is there and nothing listens: the server is down
  | 'unreachable' // no connection to its host
  | 'hung' // takes connections and answers nothing
  | 'lost' // the connection broke
  | 'starting' // 57P03: starting, stopping or recovering
  | 'refusing' // alive, and lets us not in: too many clients, password, pg_hba.conf, TLS
  | 'overloaded' // answers nothing in time, and shows that it lives
  | 'cut off' // from us only: replicas receive WAL from it
  | 'unknown'; // not asked yet

/** A sign of life counts for this long before a failure. */
const FRESH_MS = 2000;

const IN_WORDS: Readonly<Record<Condition, string>> = {
  answers: 'answers',
  refused: 'its server is down, nothing listens there',
  unreachable: 'its host cannot be reached',
  hung: 'takes connections and answers nothing',
  lost: 'its connection broke',
  starting: 'starts, stops or recovers',
  refusing: 'is alive and does not let Fairlead in',
  overloaded: 'is alive and answers too late',
  'cut off': 'is alive and cut off from Fairlead only',
  unknown: 'was not asked yet',
};

/**
 * @param life its newest sign of life beside the probes
 * @param feeds a replica that answers receives WAL from it now
 */
export function conditionOf({ last, failure }: NodeRecord, life: LifeSign | null, feeds: boolean): Condition {
  if (failure === null) return last === null ? 'unknown' : 'answers';
  if (!maybeDead(failure.kind)) return 'refusing';
  const lives = life !== null && life.atMs > failure.finishedMs - FRESH_MS && life.atMs > (last?.finishedMs ?? 0);
  if (lives) return 'overloaded';
  if (failure.kind === 'starting') return 'starting';
  // the way is open when it takes connections: it is slow, or stuck, and its walsenders are not
  if (feeds) return failure.kind === 'hung' ? 'overloaded' : 'cut off';
  return failure.kind as 'refused' | 'unreachable' | 'hung' | 'lost';
}

export function conditionInWords(condition: Condition): string {
  return IN_WORDS[condition];
}
