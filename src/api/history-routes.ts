import { type Router as ExpressRouter, Router } from 'express';
import { wallMs } from '../core/clock.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { LagSample } from '../store/records.ts';
import type { LagRecorder } from './lag-recorder.ts';
import { onlyBy, sendProblem } from './problem.ts';
import type { ApiDependencies, ClusterEvent } from './sources.ts';
import type { TrafficRecorder } from './traffic-recorder.ts';
import { within } from './within.ts';

type Dependencies = Pick<ApiDependencies, 'cluster' | 'events' | 'lagHistory' | 'log'>;

const DEFAULT_SPAN_MS = 300_000;
const DEFAULT_POINTS = 600;
const MOST_POINTS = 5000;
const MOST_EVENTS = 1000;
const OLDER_TIMEOUT_MS = 2000;

/** `/api/lag/history`, `/api/traffic/history`, `/api/events`: what was. */
export function historyRoutes(deps: Dependencies, lag: LagRecorder, traffic: TrafficRecorder): ExpressRouter {
  const router = Router();

  router
    .route('/api/lag/history')
    .get(async (request, response) => {
      const { cluster } = deps;
      const name = text(request.query.node);
      if (name !== null && !cluster.topology.value.byName.has(name)) {
        return sendProblem(response, 404, `there is no node ${name}`, 'GET /api/cluster lists the nodes');
      }
      const sinceMs = instant(request.query.since) ?? wallMs() - DEFAULT_SPAN_MS;
      const points = whole(request.query.points, DEFAULT_POINTS, MOST_POINTS);
      const nodes = cluster.topology.value.nodes.filter((n) => name === null || n.name === name);
      // taken before the older ones are read, so that nothing falls between the two
      const recentFromMs = lag.oldestMs;
      const recent = nodes.flatMap((n) => lag.list(n.index, sinceMs, points));
      const older = sinceMs < recentFromMs ? await olderSamples(deps, sinceMs, recentFromMs, name) : [];
      response.json({
        since: Math.round(sinceMs),
        samples: [...older, ...recent].map((s) => ({ at: s.atMs, node: s.node, ms: s.lagMs, bytes: s.lagBytes })),
      });
    })
    .all(onlyBy('GET'));

  router
    .route('/api/traffic/history')
    .get((request, response) => {
      const sinceMs = instant(request.query.since) ?? 0;
      response.json({
        nodes: deps.cluster.nodes.map((n) => n.name),
        samples: traffic.samples.filter((s) => s.at >= sinceMs),
      });
    })
    .all(onlyBy('GET'));

  router
    .route('/api/events')
    .get(async (request, response) => {
      const events = await deps.events.list(whole(request.query.limit, 100, MOST_EVENTS));
      response.json({ events: events.map(eventView) });
    })
    .all(onlyBy('GET'));

  return router;
}

/** An event with its time as people write it. */
export function eventView(event: ClusterEvent) {
  const { atMs, ...rest } = event;
  return { at: new Date(atMs).toISOString(), ...rest };
}

/** Without a primary the store may not answer; then the plot begins later. */
async function olderSamples(
  { lagHistory, log }: Dependencies,
  sinceMs: number,
  untilMs: number,
  node: string | null,
): Promise<readonly LagSample[]> {
  try {
    return await within(lagHistory.lagHistory(sinceMs, Math.min(untilMs, wallMs()), node), OLDER_TIMEOUT_MS);
  } catch (error) {
    log.warn({ reason: messageOf(error) }, 'older lag samples are not available');
    return [];
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

/** Milliseconds since 1970 from digits or ISO 8601; null when absent. @throws FairleadError `bad_parameter` */
function instant(value: unknown): number | null {
  const written = text(value);
  if (written === null) return null;
  const ms = /^\d+(\.\d+)?$/.test(written) ? Number(written) : Date.parse(written);
  if (Number.isFinite(ms)) return ms;
  throw new FairleadError(
    'bad_parameter',
    `since: "${written}" is not a time`,
    'write milliseconds since 1970, or ISO 8601',
  );
}

/** @throws FairleadError `bad_parameter` */
function whole(value: unknown, otherwise: number, most: number): number {
  const written = text(value);
  if (written === null) return otherwise;
  const number = Number(written);
  if (Number.isInteger(number) && number > 0) return Math.min(number, most);
  throw new FairleadError('bad_parameter', `"${written}" is not a number of items`, `write 1 to ${most}`);
}
