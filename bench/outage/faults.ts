/** Ways for writes to have no primary for a while. */
import type { Arena } from '../../test/chaos/arena.ts';

export type OutageFault = {
  readonly name: string;
  /** Whether `failover.timeout` has to pass before anything may be done. */
  readonly unannounced: boolean;
  begin(arena: Arena, primary: string): Promise<void>;
  /** When writes go on. */
  end(arena: Arena, primary: string): Promise<void>;
};

export const OUTAGES: readonly OutageFault[] = [
  {
    name: 'kill -9',
    unannounced: true,
    begin: (arena, primary) => arena.kill(primary),
    end: async () => {},
  },
  {
    name: 'SIGSTOP',
    unannounced: true,
    begin: async (arena, primary) => arena.freeze(primary),
    end: async (arena, primary) => arena.thaw(primary),
  },
  {
    name: 'partition',
    unannounced: true,
    begin: (arena, primary) => arena.cut(primary),
    end: (arena, primary) => arena.mend(primary),
  },
  {
    name: 'switchover',
    unannounced: false,
    begin: async (arena) => {
      const { status, answer } = await arena.fairlead.post('/api/switchover');
      if (status !== 200) throw new Error(`switchover: ${answer.error}`);
    },
    end: async () => {},
  },
];
