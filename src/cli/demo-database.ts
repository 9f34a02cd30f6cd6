import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { EmbeddedCluster } from '../embedded/embedded-cluster.ts';

/** The application's database, where Fairlead's own schema lives too: a logical stream is of one database. */
export const DEMO_DATABASE = 'demo';

type Login = { readonly user: string; readonly password: string };

export type DemoLogins = {
  /** The application: no superuser, may create tables. */
  readonly app: Login;
  /** A superuser, for Fairlead's own connections and for looking at a node directly. */
  readonly control: Login;
};

const newPassword = () => randomBytes(9).toString('hex');

/** Makes the demo's roles and its database on the primary; the replicas follow by themselves. */
export async function createDemoDatabase(cluster: EmbeddedCluster): Promise<DemoLogins> {
  const app = { user: 'demo', password: newPassword() };
  const control = { user: 'fairlead', password: newPassword() };
  const client = new pg.Client({ connectionString: cluster.nodes[0]?.url });
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query(`CREATE ROLE ${app.user} LOGIN PASSWORD '${app.password}'`);
    await client.query(`CREATE ROLE ${control.user} SUPERUSER REPLICATION LOGIN PASSWORD '${control.password}'`);
    await client.query(`CREATE DATABASE ${DEMO_DATABASE} OWNER ${app.user}`);
  } finally {
    await client.end();
  }
  return { app, control };
}
