/** The value that a share `q` of `ascending` does not exceed; NaN when there is none. */
export function quantile(ascending: ArrayLike<number>, q: number): number {
  const rank = Math.max(1, Math.ceil(q * ascending.length));
  return ascending[rank - 1] ?? Number.NaN;
}
