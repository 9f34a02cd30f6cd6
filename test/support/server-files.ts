/** Files of a test cluster's servers: who may come in, and certificates. For servers of this machine only. */
import { chownSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Authority, Certificate } from './certificates.ts';
import type { TestCluster, TestNode } from './test-cluster.ts';
import { until } from './wait.ts';

async function put(node: TestNode, name: string, text: string): Promise<void> {
  const [row] = await node.query<{ data_directory: string }>('SHOW data_directory');
  const file = join(row?.data_directory ?? '', name);
  const { uid, gid } = statSync(row?.data_directory ?? '');
  writeFileSync(file, text, { mode: 0o600 });
  chownSync(file, uid, gid);
}

/** Resolves when whoever connects finds what the files say: the views show it before the postmaster has read them. */
async function reload(node: TestNode, done: () => Promise<boolean>): Promise<void> {
  const [before] = await node.query<{ at: string }>('SELECT pg_conf_load_time()::text AS at');
  await node.query('SELECT pg_reload_conf()');
  const later = 'SELECT FROM pg_conf_load_time() AS at WHERE at > $1::timestamptz';
  await until(async () => (await node.query(later, [before?.at])).length === 1 && (await done()), {
    what: `${node.name} to have read its files`,
  });
}

/** Lines before what the test itself needs: superuser postgres comes in from this machine in any way. By default on all nodes. */
export async function setHba(cluster: TestCluster, lines: readonly string[], nodes = cluster.nodes): Promise<void> {
  for (const node of nodes) {
    const own = [
      `host all ${cluster.superuser} 127.0.0.1/32 scram-sha-256`,
      'host replication all 127.0.0.1/32 scram-sha-256',
    ];
    const text = `${[...lines, ...own].join('\n')}\n`;
    await put(node, 'pg_hba.conf', text);
    await reload(node, async () => {
      const rows = await node.query<{ count: number }>(
        'SELECT count(*)::int FROM pg_hba_file_rules WHERE error IS NULL',
      );
      return rows[0]?.count === lines.length + own.length;
    });
  }
}

/** Lets every server speak TLS with this certificate, and trust clients' certificates of the authority. */
export async function enableTls(cluster: TestCluster, authority: Authority, certificate: Certificate): Promise<void> {
  for (const node of cluster.nodes) {
    await put(node, 'server.crt', certificate.cert);
    await put(node, 'server.key', certificate.key);
    await put(node, 'root.crt', authority.ca);
    await node.query(`ALTER SYSTEM SET ssl_ca_file = 'root.crt'`);
    await node.query(`ALTER SYSTEM SET ssl = 'on'`);
    await reload(node, async () => (await node.query<{ ssl: string }>('SHOW ssl'))[0]?.ssl === 'on');
  }
}
