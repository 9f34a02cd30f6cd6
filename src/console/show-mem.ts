import { memoryUsage } from 'node:process';
import { show } from './command.ts';

/** https://www.pgbouncer.org/usage.html#show-mem; there are no slabs, so the kinds of memory that Node tells apart stand for them. */
export const SHOW_MEM = show({
  name: 'MEM',
  help: 'memory of the processes, bytes',
  columns: { name: 'text', size: 'int8', used: 'int8', free: 'int8', memtotal: 'int8' },
  async rows({ plane, config }) {
    const processes = (await plane.processes()).map(({ worker, memory }) => ({ prefix: `worker ${worker} `, memory }));
    const own = { prefix: '', memory: memoryUsage() };
    return (config().workers > 1 ? [own, ...processes] : [own]).flatMap(({ prefix, memory }) => {
      const { heapUsed, heapTotal, external, arrayBuffers, rss } = memory;
      const row = (name: string, used: number, total = used) => {
        return { name: `${prefix}${name}`, size: 1, used, free: Math.max(0, total - used), memtotal: total };
      };
      return [
        row('heap', heapUsed, heapTotal),
        row('external', external),
        row('array_buffers', arrayBuffers),
        row('resident', rss),
      ];
    });
  },
});
