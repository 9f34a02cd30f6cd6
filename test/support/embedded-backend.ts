import { type EmbeddedCluster, startEmbeddedCluster } from '../../src/embedded/embedded-cluster.ts';
import type { EmbeddedNode } from '../../src/embedded/embedded-node.ts';
import { untilStreaming } from './streaming.ts';
import { queryOnce, type ResolvedOptions, type TestCluster, type TestNode } from './test-cluster.ts';

/** A cluster of processes of this machine. Without fsync: no test takes the machine's power away. */
export async function startEmbeddedTestCluster(options: ResolvedOptions): Promise<TestCluster> {
  const cluster = await startEmbeddedCluster({
    replicas: options.replicas,
    settings: options.settings,
    pgBin: options.pgBin ?? (process.env.FAIRLEAD_TEST_PG_BIN || undefined),
    durable: false,
  });
  const nodes = cluster.nodes.map((node) => testNode(node));
  const found: TestCluster = {
    nodes,
    superuser: cluster.superuser,
    password: cluster.password,
    backend: 'embedded',
    major: Number.parseInt(cluster.version, 10),
    node: (name) => nodes[indexOf(cluster, name)] as TestNode,
    stop: () => cluster.stop(),
  };
  try {
    await untilStreaming(found, options.replicas);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return found;
}

function indexOf(cluster: EmbeddedCluster, name: string): number {
  return cluster.nodes.indexOf(cluster.node(name));
}

function testNode(node: EmbeddedNode): TestNode {
  return {
    name: node.name,
    host: '127.0.0.1',
    port: node.port,
    url: node.url,
    query: (text, values) => queryOnce(node.url, text, values),
    kill9: () => node.kill('SIGKILL'),
    freeze: async () => node.freeze(),
    thaw: async () => node.thaw(),
    start: () => node.start(),
    stop: (mode) => node.stop(mode),
  };
}
