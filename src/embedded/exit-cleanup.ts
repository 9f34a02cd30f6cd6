/** What must be undone when this process ends without having been asked politely. */

const tasks = new Set<() => void>();
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** `exit` is emitted at the end, after an uncaught exception, and by process.exit(): not after a signal. */
function runAll(): void {
  for (const task of tasks) {
    tasks.delete(task);
    try {
      task();
    } catch (error) {
      process.stderr.write(`cleaning up failed: ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
}

function onSignal(signal: NodeJS.Signals): void {
  // whoever else listens stops in order, and ends the process when done
  if (process.listenerCount(signal) > 1) return;
  process.exit(128 + SIGNALS[signal as keyof typeof SIGNALS]);
}

/** Runs `task`, which must not need promises, when the process ends. @returns the function that takes it back. */
export function atExit(task: () => void): () => void {
  if (tasks.size === 0) {
    process.on('exit', runAll);
    for (const signal of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]) process.on(signal, onSignal);
  }
  tasks.add(task);
  return () => {
    tasks.delete(task);
    if (tasks.size > 0) return;
    process.off('exit', runAll);
    for (const signal of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]) process.off(signal, onSignal);
  };
}
