import { clockText } from './clock-text.ts';
import { show } from './command.ts';

/** Who uses a core, and who has how many clients. */
export const SHOW_WORKERS = show({
  name: 'WORKERS',
  help: 'processes that serve clients: processor time, memory, clients',
  columns: {
    worker: 'int4',
    pid: 'int4',
    clients: 'int4',
    cpu_user_us: 'int8',
    cpu_system_us: 'int8',
    memory: 'int8',
    start_time: 'text',
  },
  rows: async ({ plane }) =>
    (await plane.processes()).map(({ worker, pid, clients, cpu, memory, startedMs }) => ({
      worker,
      pid,
      clients,
      cpu_user_us: cpu.user,
      cpu_system_us: cpu.system,
      memory: memory.rss,
      start_time: clockText(startedMs),
    })),
});
