import { messageOf } from '../core/errors.ts';

/** Runs for all nodes at once. @returns the message of each that failed. */
export async function each(
  nodes: readonly string[],
  run: (node: string) => Promise<void>,
): Promise<Map<string, string>> {
  const problems = new Map<string, string>();
  await Promise.all(
    nodes.map((node) =>
      run(node).catch((error) => {
        problems.set(node, messageOf(error));
      }),
    ),
  );
  return problems;
}

/** Waits for `promise`, but not longer than `ms`; it goes on by itself. */
export async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
