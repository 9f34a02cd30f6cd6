/** What is done to a cluster under load: one thing, or several in a row. What is random about it comes from the round's own numbers. */
import { sleep } from '../../src/core/sleep.ts';
import type { Random } from '../support/random.ts';
import type { Arena } from './arena.ts';
import { type ProcessKind, processesOfKind } from './servers.ts';

export type Stage = {
  readonly arena: Arena;
  readonly random: Random;
  /** `failover.timeout`. */
  readonly timeoutMs: number;
  /** As the round begins. */
  readonly primary: string;
  readonly replicas: readonly string[];
  readonly mode: 'async' | 'sync' | 'quorum';
  /** For the line of the round. */
  note(text: string): void;
};

export type Fault = {
  readonly name: string;
  /** Whether Fairlead brings writes back alone. Otherwise it may have to wait for what was broken. */
  readonly alone: boolean;
  run(stage: Stage): Promise<void>;
};

const MOVED_MS = 20_000;

export const FAULTS: readonly Fault[] = [
  {
    name: 'kill the primary',
    alone: true,
    run: ({ arena, primary }) => arena.kill(primary),
  },
  {
    name: 'kill the primary, start it at once',
    alone: true,
    run: async ({ arena, primary, random, timeoutMs, note }) => {
      const waitMs = random.int(timeoutMs * 0.8);
      note(`after ${waitMs} ms`);
      await arena.kill(primary);
      await sleep(waitMs);
      await arena.restart(primary);
    },
  },
  {
    name: 'kill the primary, start it after the promotion',
    alone: true,
    run: async (stage) => {
      await stage.arena.kill(stage.primary);
      await moved(stage);
      await sleep(stage.random.int(1000));
      await stage.arena.restart(stage.primary);
    },
  },
  {
    name: 'freeze the primary, thaw it after the promotion',
    alone: true,
    run: async (stage) => {
      stage.arena.freeze(stage.primary);
      await moved(stage);
      await sleep(stage.random.int(1500));
      stage.arena.thaw(stage.primary);
    },
  },
  {
    name: 'freeze the primary for about the timeout',
    alone: true,
    run: async ({ arena, primary, random, timeoutMs, note }) => {
      const forMs = Math.round(timeoutMs * 0.5) + random.int(timeoutMs * 1.5);
      note(`${forMs} ms`);
      arena.freeze(primary);
      await sleep(forMs);
      arena.thaw(primary);
    },
  },
  {
    name: 'cut the primary off, mend it after the promotion',
    alone: true,
    run: async (stage) => {
      await stage.arena.cut(stage.primary);
      await moved(stage);
      await sleep(stage.random.int(1500));
      await stage.arena.mend(stage.primary);
    },
  },
  {
    name: 'cut the primary off for about the timeout',
    alone: true,
    run: async ({ arena, primary, random, timeoutMs, note }) => {
      const forMs = Math.round(timeoutMs * 0.5) + random.int(timeoutMs * 1.5);
      note(`${forMs} ms`);
      await arena.cut(primary);
      await sleep(forMs);
      await arena.mend(primary);
    },
  },
  {
    name: 'kill a replica',
    alone: true,
    run: ({ arena, replicas, random }) => arena.kill(oneOf(replicas, random)),
  },
  {
    name: 'freeze a replica',
    alone: true,
    run: async ({ arena, replicas, random }) => {
      const replica = oneOf(replicas, random);
      arena.freeze(replica);
      await sleep(500 + random.int(3500));
      arena.thaw(replica);
    },
  },
  {
    name: 'kill or freeze a process of replication',
    alone: true,
    run: async ({ arena, primary, replicas, random, note }) => {
      const kind = oneOf<ProcessKind>(['walreceiver', 'walsender', 'startup'], random);
      const node = kind === 'walsender' ? primary : oneOf(replicas, random);
      const pids = processesOfKind(arena.directoryOf(node), kind);
      const signal = oneOf(['SIGKILL', 'SIGSTOP', 'SIGTERM'] as const, random);
      note(`${signal} ${kind} of ${node}`);
      const pid = oneOf(pids, random);
      if (pid === undefined) return;
      process.kill(pid, signal);
      await sleep(500 + random.int(3000));
      arena.thaw(node);
    },
  },
  {
    name: 'kill a backend',
    alone: true,
    run: async ({ arena, primary, replicas, random, note }) => {
      const node = oneOf([primary, primary, ...replicas], random);
      note(node);
      const pid = oneOf(processesOfKind(arena.directoryOf(node), 'backend'), random);
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
      await sleep(500);
    },
  },
  {
    name: 'kill the primary, and a replica during the failover',
    alone: false,
    run: async (stage) => {
      const { arena, replicas, random, note } = stage;
      await strike(stage, stage.primary);
      const phase = await changing(stage);
      await sleep(random.int(40));
      note(`during ${phase}`);
      await strike(stage, oneOf(replicas, random));
      await sleep(2000 + random.int(3000));
      for (const replica of replicas) arena.thaw(replica);
    },
  },
  {
    name: 'kill Fairlead',
    alone: true,
    run: async ({ arena, random }) => {
      await arena.fairlead.end('SIGKILL');
      await sleep(random.int(1500));
      await arena.fairlead.start();
    },
  },
  {
    name: 'kill the primary and Fairlead',
    alone: true,
    run: async ({ arena, primary, random, timeoutMs, note }) => {
      await arena.kill(primary);
      const waitMs = random.int(timeoutMs + 600);
      note(`Fairlead ${waitMs} ms later`);
      await sleep(waitMs);
      await arena.fairlead.end('SIGKILL');
      await sleep(random.int(1000));
      await arena.fairlead.start();
    },
  },
  {
    name: 'freeze Fairlead',
    alone: true,
    run: async ({ arena, random, timeoutMs }) => {
      arena.fairlead.freeze();
      await sleep(200 + random.int(timeoutMs * 2.5));
      arena.fairlead.thaw();
    },
  },
  {
    name: 'freeze Fairlead, and kill the primary meanwhile',
    alone: true,
    run: async ({ arena, primary, random, timeoutMs }) => {
      const before = random.chance(0.5);
      if (before) await arena.kill(primary);
      await sleep(random.int(timeoutMs + 300));
      arena.fairlead.freeze();
      await sleep(random.int(timeoutMs));
      if (!before) await arena.kill(primary);
      await sleep(random.int(timeoutMs * 2));
      arena.fairlead.thaw();
    },
  },
  {
    name: 'switchover',
    alone: true,
    run: async ({ arena, note }) => {
      const { status, answer } = await arena.fairlead.post('/api/switchover');
      if (status !== 200) note(`refused: ${answer.error}`);
    },
  },
  {
    name: 'switchover, and a blow meanwhile',
    alone: false,
    run: async (stage) => {
      const { arena, replicas, random, note } = stage;
      const answered = arena.fairlead.post('/api/switchover').then(
        ({ status, answer }) => note(status === 200 ? 'done' : `refused: ${answer.error}`),
        () => note('no answer'),
      );
      await sleep(random.int(400));
      const whom = oneOf(['Fairlead', stage.primary, ...replicas], random);
      if (whom === 'Fairlead') {
        note('kills Fairlead');
        await arena.fairlead.end('SIGKILL');
        await sleep(random.int(500));
        await arena.fairlead.start();
      } else await strike(stage, whom);
      await answered;
      await sleep(random.int(2000));
      if (whom !== 'Fairlead') arena.thaw(whom);
    },
  },
  {
    name: 'kill one primary after the other',
    alone: false,
    run: async (stage) => {
      const { arena, random } = stage;
      await arena.kill(stage.primary);
      const next = await moved(stage);
      await sleep(random.int(1500));
      if (next !== null) await arena.kill(next);
      await sleep(stage.timeoutMs + 2000);
    },
  },
  {
    name: 'failover asked for by an operator',
    alone: true,
    run: async ({ arena, note }) => {
      const { status, answer } = await arena.fairlead.post('/api/failover');
      if (status !== 200) note(`refused: ${answer.error}`);
    },
  },
];

function oneOf<T>(of: readonly T[], random: Random): T {
  return of[random.int(of.length)] as T;
}

/** Kill or freeze. */
async function strike({ arena, random, note }: Stage, node: string): Promise<void> {
  const kill = random.chance(0.6);
  note(`${kill ? 'kills' : 'freezes'} ${node}`);
  if (kill) await arena.kill(node);
  else arena.freeze(node);
}

/** @returns the next primary once there is one and it is at rest; null when there is none in time */
async function moved({ arena, primary }: Stage): Promise<string | null> {
  const endMs = performance.now() + MOVED_MS;
  while (performance.now() < endMs) {
    const view = await arena.fairlead.look().catch(() => null);
    if (view !== null && view.primary !== null && view.primary !== primary) return view.primary;
    await sleep(20);
  }
  return null;
}

/** @returns the phase in which a change of primary was seen first */
async function changing({ arena }: Stage): Promise<string> {
  const endMs = performance.now() + MOVED_MS;
  while (performance.now() < endMs) {
    const phase = (await arena.fairlead.look().catch(() => null))?.phase ?? '';
    if (['fencing', 'electing', 'promoting', 'repointing'].includes(phase)) return phase;
    await sleep(5);
  }
  return 'nothing';
}
