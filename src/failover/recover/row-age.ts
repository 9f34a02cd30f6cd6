/** Far more transactions than begin between a question and the lock that answers it. */
const SLACK = 2n ** 24n;

/**
 * Whether a row version was written by a transaction that began after the fork. Ids of transactions that are older than the fork belong to
 * what both timelines have: one that had not ended by then has never committed here.
 * @param xmin 32 bits, as the row has it
 * @param nextXid 64 bits, of the primary now
 * @param firstXid 64 bits, of the first transaction after the promotion
 */
export function writtenAfter(firstXid: bigint, xmin: number, nextXid: bigint): boolean {
  const epoch = nextXid & ~0xffffffffn;
  const full = epoch | BigInt(xmin);
  return (full > nextXid + SLACK ? full - 0x100000000n : full) >= firstXid;
}
