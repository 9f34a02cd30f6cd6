/** Waiting for a proxy to serve, and to have come to rest. */
import { untilEverythingAnswers } from '../../src/cli/demo-ready.ts';
import { RawClient } from './raw-client.ts';
import { until } from './wait.ts';

type Proxy = { readonly url: string; readonly http: string };

/** One row of SHOW POOLS by its column names. */
export type PoolRow = Readonly<Record<string, string | null>>;

/** Waits until the proxy answers and every replica serves reads. */
export function untilServing({ url, http }: Proxy, replicas: number): Promise<void> {
  return untilEverythingAnswers(url, http, replicas);
}

/** What the admin console says, as rows of text by column. `url` is the proxy's. */
export async function show(url: string, command: string): Promise<PoolRow[]> {
  const address = new URL(url);
  address.pathname = '/fairlead';
  const client = await RawClient.connect(address.href);
  try {
    return await client.records(command);
  } finally {
    client.socket.destroy();
  }
}

export function showPools(url: string): Promise<PoolRow[]> {
  return show(url, 'SHOW POOLS');
}

/** Waits until no session holds, waits for, or opens a server connection. */
export async function untilRested({ url }: Pick<Proxy, 'url'>, timeoutMs = 30_000): Promise<void> {
  await until(
    async () => {
      const busy = (await showPools(url)).filter(
        (pool) => Number(pool.sv_active) + Number(pool.cl_waiting) + Number(pool.cl_active) + Number(pool.sv_login) > 0,
      );
      if (busy.length > 0) throw new Error(JSON.stringify(busy));
      return true;
    },
    { what: 'idle pools', timeoutMs },
  );
}
