import { type EmbeddedCluster, startEmbeddedCluster } from '../../src/embedded/embedded-cluster.ts';
import type { EmbeddedNode, Place } from '../../src/embedded/embedded-node.ts';
import type { PrivateNetwork } from './private-network.ts';
import { untilStreaming } from './streaming.ts';
import { queryOnce, type ResolvedOptions, type TestCluster, type TestNode } from './test-cluster.ts';

/** A cluster of processes of this machine. Without fsync: no test takes the machine's power away. */
export async function startEmbeddedTestCluster(options: ResolvedOptions): Promise<TestCluster> {
  const { network } = options;
  const cluster = await startEmbeddedCluster({
    replicas: options.replicas,
    settings: options.settings,
    pgBin: options.pgBin ?? (process.env.FAIRLEAD_TEST_PG_BIN || undefined),
    durable: false,
    placeOf: network === undefined ? undefined : placeIn(network),
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

function placeIn(network: PrivateNetwork) {
  return (name: string, data: string): Place => ({
    host: network.address(name),
    network: network.range,
    socketDirectory: data,
    launcher: (user) => network.launcher(name, user),
  });
}

function indexOf(cluster: EmbeddedCluster, name: string): number {
  return cluster.nodes.indexOf(cluster.node(name));
}

function testNode(node: EmbeddedNode): TestNode {
  return {
    name: node.name,
    host: node.host,
    port: node.port,
    url: node.url,
    localUrl: node.localUrl,
    query: (text, values) => queryOnce(node.localUrl, text, values),
    kill9: () => node.kill('SIGKILL'),
    freeze: async () => node.freeze(),
    thaw: async () => node.thaw(),
    start: () => node.start(),
    stop: (mode, patienceMs) => node.stop(mode, patienceMs),
  };
}
