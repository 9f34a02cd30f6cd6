import { type Router as ExpressRouter, Router } from 'express';
import { wallMs } from '../core/clock.ts';
import { clusterView, lagView, lsnText } from './cluster-view.ts';
import type { HoldClock } from './hold-clock.ts';
import { onlyBy } from './problem.ts';
import type { ApiDependencies } from './sources.ts';

type Dependencies = Pick<ApiDependencies, 'cluster' | 'replication' | 'version' | 'accepting'>;

/** A primary whose last answer is older than this does not count as reachable, whatever the monitor thinks. */
const READY_SILENT_MS = 10_000;

/** `/api/cluster`, `/api/lag`, `/healthz`, `/readyz`: the model as it is now. */
export function clusterRoutes(dependencies: Dependencies, hold: HoldClock): ExpressRouter {
  const { cluster, replication, version } = dependencies;
  const router = Router();

  router
    .route('/api/cluster')
    .get((_request, response) => {
      response.json(clusterView(cluster, replication.state.value, hold.value));
    })
    .all(onlyBy('GET'));

  router
    .route('/api/lag')
    .get((_request, response) => {
      response.json(lagNow(cluster));
    })
    .all(onlyBy('GET'));

  router
    .route('/healthz')
    .get((_request, response) => {
      response.json({ ok: true, version, uptimeSeconds: Math.round(process.uptime()) });
    })
    .all(onlyBy('GET'));

  router
    .route('/readyz')
    .get((_request, response) => {
      const { primary, reason } = cluster.topology.value;
      if (!dependencies.accepting()) {
        return response.status(503).json({ ready: false, primary: primary?.name ?? null, reason: 'shutting down' });
      }
      if (primary === null) return response.status(503).json({ ready: false, primary: null, reason });
      const { failure } = cluster.observations.of(primary.name);
      const silent = cluster.silentMs(primary.name) > READY_SILENT_MS;
      if (failure === null && !silent) return response.json({ ready: true, primary: primary.name, reason });
      response
        .status(503)
        .json({ ready: false, primary: primary.name, reason: failure?.message ?? 'no answer lately' });
    })
    .all(onlyBy('GET'));

  return router;
}

/** Lag of every node now. */
export function lagNow(cluster: ApiDependencies['cluster']) {
  const topology = cluster.topology.value;
  return {
    at: wallMs(),
    primary: topology.primary?.name ?? null,
    primaryLsn: lsnText(cluster.primaryLsn()),
    nodes: topology.nodes.map((node) => ({
      name: node.name,
      role: node.role,
      state: node.state,
      replayLsn: lsnText(cluster.replayLsn(node.name)),
      lag: lagView(cluster, node),
    })),
  };
}
