import { type Router as ExpressRouter, Router } from 'express';
import { wallMs } from '../core/clock.ts';
import { onlyBy } from './problem.ts';
import type { ApiDependencies } from './sources.ts';

type Dependencies = Pick<ApiDependencies, 'traffic' | 'pools' | 'sessions'>;

/** `/api/traffic`: where statements go, why and how long they take; who is connected; which pools there are. */
export function trafficRoutes(deps: Dependencies): ExpressRouter {
  const router = Router();
  router
    .route('/api/traffic')
    .get((_request, response) => {
      response.json(trafficView(deps));
    })
    .all(onlyBy('GET'));
  return router;
}

export function trafficView({ traffic, pools, sessions }: Dependencies) {
  return { at: wallMs(), ...traffic.snapshot(), sessions: sessions.sessions(), pools: pools.pools() };
}
