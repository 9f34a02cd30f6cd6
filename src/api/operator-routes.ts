import { type Router as ExpressRouter, json, type Request, Router } from 'express';
import { z } from 'zod';
import type { Cluster } from '../cluster/cluster.ts';
import { timeMs } from '../config/units.ts';
import { wallMs } from '../core/clock.ts';
import { FairleadError } from '../core/errors.ts';
import { scheduledView } from './cluster-view.ts';
import { authorized, sameOrigin } from './guard.ts';
import { onlyBy, sendProblem } from './problem.ts';
import type { ApiDependencies } from './sources.ts';

type Dependencies = Pick<ApiDependencies, 'cluster' | 'operations' | 'reload' | 'token' | 'log'>;

const NOTHING = z.strictObject({}).optional();
const FORCE = z.strictObject({ allowDataLoss: z.boolean().optional() }).optional();
const SWITCHOVER = z
  .strictObject({
    to: z.string().nullish(),
    wait: timeMs.optional(),
    plan: z.boolean().optional(),
    at: z.iso.datetime({ offset: true, error: 'write a time such as 2026-12-01T03:00:00Z' }).optional(),
    in: timeMs.optional(),
    cancel: z.boolean().optional(),
  })
  .refine(({ plan, cancel, at, in: after }) => [plan, cancel, at, after].filter((v) => v !== undefined).length <= 1, {
    error: 'only one of plan, at, in and cancel',
  })
  .optional();
const GUARDED = [
  '/api/reload',
  '/api/switchover',
  '/api/failover',
  '/api/pause',
  '/api/resume',
  '/api/nodes/:name/:action',
];

/** What operators POST. Each answers when it is done, or 409 with the reason why not. */
export function operatorRoutes(dependencies: Dependencies, onLoopback: boolean): ExpressRouter {
  const { cluster, operations, token, log } = dependencies;
  const router = Router();
  router.post(GUARDED, sameOrigin, authorized(token, onLoopback), json({ limit: '16kb' }));

  const note = (request: Request, what: string) =>
    log.info({ from: request.socket.remoteAddress, path: request.path }, `operator asks for ${what}`);

  router
    .route('/api/switchover')
    .post(async (request, response) => {
      const { to, wait, plan, at, in: after, cancel } = bodyOf(SWITCHOVER, request) ?? {};
      if (typeof to === 'string' && !cluster.topology.value.byName.has(to)) {
        return sendProblem(response, 404, `there is no node ${to}`, 'GET /api/cluster lists the nodes');
      }
      const wish = { ...(typeof to === 'string' ? { to } : {}), ...(wait === undefined ? {} : { waitMs: wait }) };
      if (plan === true) return void response.json({ plan: await operations.planSwitchover(wish) });
      if (cancel === true) {
        note(request, 'a switchover to be cancelled');
        const { scheduled, underWay } = await operations.cancelSwitchover();
        return void response.json({
          ...outcome(cluster),
          cancelled: { scheduled: scheduledView(scheduled), underWay },
        });
      }
      if (at !== undefined || after !== undefined) {
        note(request, 'a switchover later');
        const atMs = at === undefined ? wallMs() + (after ?? 0) : Date.parse(at);
        const scheduled = operations.scheduleSwitchover(wish, atMs);
        return void response.status(202).json({ scheduled: scheduledView(scheduled) });
      }
      note(request, 'a switchover');
      const { tookMs } = await operations.switchover(wish);
      response.json({ ...outcome(cluster), tookMs });
    })
    .all(onlyBy('POST'));

  router
    .route('/api/failover')
    .post(async (request, response) => {
      const { allowDataLoss = false } = bodyOf(FORCE, request) ?? {};
      note(request, allowDataLoss ? 'a failover, and allows data loss' : 'a failover');
      const { tookMs } = await operations.failover(allowDataLoss);
      response.json({ ...outcome(cluster), tookMs });
    })
    .all(onlyBy('POST'));

  router
    .route('/api/reload')
    .post(async (request, response) => {
      bodyOf(NOTHING, request);
      note(request, 'a reload');
      response.json({ done: true, changes: await dependencies.reload() });
    })
    .all(onlyBy('POST'));

  for (const action of ['pause', 'resume'] as const) {
    router
      .route(`/api/${action}`)
      .post((request, response) => {
        bodyOf(NOTHING, request);
        note(request, action);
        operations[action]();
        response.json(outcome(cluster));
      })
      .all(onlyBy('POST'));
  }

  for (const action of ['drain', 'undrain'] as const) {
    router
      .route(`/api/nodes/:name/${action}`)
      .post((request, response) => {
        bodyOf(NOTHING, request);
        const name = request.params.name as string;
        if (!cluster.topology.value.byName.has(name)) {
          return sendProblem(response, 404, `there is no node ${name}`, 'GET /api/cluster lists the nodes');
        }
        note(request, action);
        operations[action](name);
        response.json({ ...outcome(cluster), node: name, state: cluster.topology.value.byName.get(name)?.state });
      })
      .all(onlyBy('POST'));
  }

  return router;
}

function outcome(cluster: Cluster) {
  const { epoch, primary, phase, reason, paused } = cluster.topology.value;
  return { done: true, epoch, primary: primary?.name ?? null, phase, reason, paused };
}

/** @throws FairleadError `bad_parameter` for a body with anything unexpected in it. */
function bodyOf<T extends z.ZodType>(schema: T, request: Request): z.output<T> {
  const parsed = schema.safeParse(request.body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue?.path.join('.');
  throw new FairleadError('bad_parameter', `body${where ? `.${where}` : ''}: ${issue?.message}`, 'correct the body');
}
