/** Takes a server's port off the network: what is sent to it and from it vanishes, and nobody is told. */
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { atExit } from '../../src/embedded/exit-cleanup.ts';

const run = promisify(execFile);
/** Only between ordinary local addresses: who watches comes from another one, and still sees the server. */
const LOCAL = '127.0.0.1';

/** Whether this machine lets us. */
export function canPartition(): boolean {
  try {
    execFileSync('iptables', ['-w', '-L', 'INPUT', '-n'], { stdio: 'ignore' });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}

export class Partition {
  readonly #rules: readonly string[][];
  readonly #forget: () => void;
  #cut = false;

  constructor(port: number) {
    const rule = (side: '--dport' | '--sport') =>
      ['INPUT', '-i', 'lo', '-p', 'tcp', '-s', LOCAL, '-d', LOCAL, side, String(port), '-j', 'DROP'] as string[];
    this.#rules = [rule('--dport'), rule('--sport')];
    this.#forget = atExit(() => {
      if (!this.#cut) return;
      for (const rule of this.#rules) execFileSync('iptables', ['-w', '-D', ...rule], { stdio: 'ignore' });
    });
  }

  async cut(): Promise<void> {
    if (this.#cut) return;
    this.#cut = true;
    for (const rule of this.#rules) await run('iptables', ['-w', '-I', ...rule]);
  }

  async heal(): Promise<void> {
    if (!this.#cut) return;
    for (const rule of this.#rules) await run('iptables', ['-w', '-D', ...rule]);
    this.#cut = false;
  }

  async stop(): Promise<void> {
    await this.heal();
    this.#forget();
  }
}
