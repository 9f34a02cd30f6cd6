import pg from 'pg';
import { FairleadError, messageOf } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';

const READY_MS = 60_000;

/**
 * Waits until a statement goes through the proxy, `/readyz` says yes and every replica serves reads.
 * @throws FairleadError refused with what was missing after a minute.
 */
export async function untilEverythingAnswers(proxy: string, http: string, replicas: number): Promise<void> {
  const deadlineMs = performance.now() + READY_MS;
  for (;;) {
    const missing = await whatIsMissing(proxy, http, replicas);
    if (missing === null) return;
    if (performance.now() > deadlineMs) {
      throw new FairleadError('refused', `not ready after ${READY_MS / 1000} s: ${missing}`, 'see the log');
    }
    await sleep(50);
  }
}

async function whatIsMissing(proxy: string, http: string, replicas: number): Promise<string | null> {
  try {
    const ready = await fetch(`${http}/readyz`);
    await ready.arrayBuffer();
    if (ready.status !== 200) return `${http}/readyz answers ${ready.status}`;
    const cluster = (await (await fetch(`${http}/api/cluster`)).json()) as {
      nodes: { role: string; readable: boolean }[];
    };
    const readable = cluster.nodes.filter((node) => node.role === 'replica' && node.readable).length;
    if (readable < replicas) return `${readable} of ${replicas} replicas serve reads`;
    const client = new pg.Client({ connectionString: proxy, connectionTimeoutMillis: 5000, query_timeout: 5000 });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query('SELECT 1');
    } finally {
      await client.end().catch(() => {});
    }
    return null;
  } catch (error) {
    return messageOf(error);
  }
}
