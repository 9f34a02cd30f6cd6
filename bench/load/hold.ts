import type { Job, Result } from './job.ts';
import { LoadConnection } from './load-connection.ts';

type Hold = Extract<Job, { kind: 'hold' }>;

/** Clients that are there and do nothing more. They stay as long as the process. */
export function hold({ target, clients, atOnce }: Hold): Promise<Result['hold']> {
  return new Promise((resolve, reject) => {
    let begun = 0;
    let held = 0;
    const next = () => {
      if (begun === clients) return;
      begun++;
      let asked = false;
      const connection = new LoadConnection(target, {
        ready: () => {
          if (!asked) {
            asked = true;
            connection.query('SELECT 1');
            return;
          }
          held++;
          if (held === clients) resolve({ clients });
          else next();
        },
        failed: (reason) => reject(new Error(`after ${held} clients: ${reason}`)),
      });
    };
    for (let i = 0; i < atOnce; i++) next();
  });
}
