import { type Router as ExpressRouter, json, Router } from 'express';
import { z } from 'zod';
import { FairleadError } from '../core/errors.ts';
import { authorized, sameOrigin } from './guard.ts';
import { sendProblem } from './problem.ts';
import type { ApiDependencies } from './sources.ts';

const BODY = z.strictObject({ method: z.enum(['auto', 'rewind', 'clone']).default('auto') }).optional();

type Dependencies = Pick<ApiDependencies, 'cluster' | 'repairs' | 'token' | 'log'>;

/** `/api/nodes/NAME/rejoin`: POST begins it and answers 202, GET tells how far it is. */
export function rejoinRoutes({ cluster, repairs, token, log }: Dependencies, onLoopback: boolean): ExpressRouter {
  const router = Router();
  const path = '/api/nodes/:name/rejoin';
  router.post(path, sameOrigin, authorized(token, onLoopback), json({ limit: '16kb' }));
  router
    .route(path)
    .all((request, response, next) => {
      const name = request.params.name as string;
      if (cluster.topology.value.byName.has(name)) return next();
      sendProblem(response, 404, `there is no node ${name}`, 'GET /api/cluster lists the nodes');
    })
    .get((request, response) => {
      response.json({ rejoin: repairs.of(request.params.name as string) });
    })
    .post((request, response) => {
      const name = request.params.name as string;
      const parsed = BODY.safeParse(request.body);
      if (!parsed.success)
        throw new FairleadError('bad_parameter', 'method is auto, rewind or clone', 'correct the body');
      log.info({ from: request.socket.remoteAddress, path: request.path }, 'operator asks for a rejoin');
      response.status(202).json({ rejoin: repairs.rejoin(name, parsed.data?.method ?? 'auto') });
    })
    .all((request, response) => {
      response.setHeader('Allow', 'GET, HEAD, POST');
      sendProblem(response, 405, `${request.method} is not allowed on ${request.path}`, 'use GET or POST');
    });
  return router;
}
