/**
 * One way for every test to get a real cluster: containers where FAIRLEAD_TEST_BACKEND=docker or HAVE_DOCKER asks for them,
 * otherwise servers of this machine. Both have the same shape.
 */
import type { TestCluster, TestClusterOptions } from './test-cluster.ts';

export type { TestCluster, TestClusterOptions, TestNode } from './test-cluster.ts';

/** Whether the tests were asked to run on containers. */
export function usesDocker(): boolean {
  const backend = process.env.FAIRLEAD_TEST_BACKEND;
  return backend === 'docker' || (backend === undefined && (process.env.HAVE_DOCKER ?? '') !== '');
}

/** Resolves when the primary answers and every replica streams from it. */
export async function startTestCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const start = usesDocker()
    ? (await import('./docker-backend.ts')).startDockerCluster
    : (await import('./embedded-backend.ts')).startEmbeddedTestCluster;
  return start({ ...options, replicas: options.replicas ?? 2, settings: options.settings ?? {} });
}
