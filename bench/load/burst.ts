import { quantile } from '../measure/quantile.ts';
import type { BurstResult, Job } from './job.ts';
import { LoadConnection } from './load-connection.ts';

type Burst = Extract<Job, { kind: 'burst' }>;

/** All connect at once, as they do when an application is rolled out. */
export function burst({ target, clients }: Burst): Promise<BurstResult> {
  return new Promise((resolve, reject) => {
    const answeredMs: number[] = [];
    const ownStart = process.cpuUsage();
    const startMs = performance.now();
    for (let i = 0; i < clients; i++) {
      let asked = false;
      const connection = new LoadConnection(target, {
        ready: () => {
          if (!asked) {
            asked = true;
            connection.query('SELECT 1');
            return;
          }
          answeredMs.push(performance.now() - startMs);
          if (answeredMs.length < clients) return;
          const { user, system } = process.cpuUsage(ownStart);
          resolve({
            totalMs: answeredMs.at(-1) as number,
            medianMs: quantile(answeredMs, 0.5),
            p99Ms: quantile(answeredMs, 0.99),
            ownMs: (user + system) / 1000,
          });
        },
        failed: (reason) => reject(new Error(`after ${answeredMs.length} answers: ${reason}`)),
      });
    }
  });
}
