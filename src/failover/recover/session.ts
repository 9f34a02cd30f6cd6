import pg from 'pg';
import { type ControlTarget, controlLogin } from '../../backend/control-connection.ts';
import { PLAIN_OUTPUT } from '../../replication/plain-output.ts';

const CONNECT_MS = 5000;

/** A connection whose values are texts as the stream has them: they can be compared. @throws what `pg` throws */
export async function openSession(target: ControlTarget): Promise<pg.Client> {
  const client = new pg.Client({
    ...controlLogin(target, 'fairlead-recover'),
    connectionTimeoutMillis: CONNECT_MS,
    options: PLAIN_OUTPUT,
    types: { getTypeParser: () => (value: string) => value },
  } as pg.ClientConfig);
  client.on('error', () => {});
  await client.connect();
  return client;
}
