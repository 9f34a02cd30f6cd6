/** In an aborted transaction no statement can be prepared again, so that "aborted" may be the answer where another error comes first directly. */
const ABORTED = /^\w+ E .* C25P02 /;

/** @returns the direct side with the stretches that are forgiven replaced by the proxied side's. */
export function forgiven(direct: readonly string[], proxied: readonly string[]): string[] {
  const ours = stretches(proxied);
  return stretches(direct).flatMap((stretch, i) => {
    const other = ours[i] ?? [];
    const before = i > 0 ? ours[i - 1]?.at(-1) : undefined;
    const both = stretch.at(-1) === other.at(-1) && before?.endsWith(' Z E') === true && other.at(-1) === before;
    return both && other.some((line) => ABORTED.test(line)) ? other : stretch;
  });
}

/** Each up to a ReadyForQuery. */
function stretches(lines: readonly string[]): string[][] {
  const all: string[][] = [[]];
  for (const line of lines) {
    all.at(-1)?.push(line);
    if (/^\w+ Z /.test(line)) all.push([]);
  }
  return all;
}
