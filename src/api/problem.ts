import type { ErrorRequestHandler, RequestHandler, Response } from 'express';
import { type ErrorCode, FairleadError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';

const STATUS: Partial<Record<ErrorCode, number>> = {
  refused: 409,
  bad_arguments: 400,
  bad_parameter: 400,
  bad_config: 400,
  no_primary: 503,
  no_replica: 503,
  paused: 503,
  shutting_down: 503,
  server_unreachable: 502,
  unsupported: 501,
};

/** Answers `{ error, remedy }`: what went wrong and what to do about it. */
export function sendProblem(response: Response, status: number, error: string, remedy: string): void {
  response.status(status).json({ error, remedy });
}

export const notFound: RequestHandler = (request, response) => {
  sendProblem(
    response,
    404,
    `there is nothing at ${request.path}`,
    'the documentation lists the paths of the HTTP API',
  );
};

/** For a path that exists, asked with another method. */
export function onlyBy(method: 'GET' | 'POST'): RequestHandler {
  return (request, response) => {
    response.setHeader('Allow', method === 'GET' ? 'GET, HEAD' : method);
    sendProblem(response, 405, `${request.method} is not allowed on ${request.path}`, `use ${method}`);
  };
}

/** The last handler: whatever was thrown becomes JSON; what we did not expect is logged and not shown. */
export function problems(log: Log): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    if (response.headersSent) return next(error);
    if (error instanceof FairleadError) {
      return sendProblem(response, STATUS[error.code] ?? 500, error.message, error.remedy);
    }
    // body-parser's and the router's errors carry the status that the client earned
    const status = (error as { status?: unknown } | null)?.status;
    if (typeof status === 'number' && status >= 400 && status < 500) {
      return sendProblem(response, status, (error as Error).message, 'correct the request');
    }
    log.error({ err: error, path: request.path }, 'http request failed');
    sendProblem(response, 500, 'internal error', 'see the log of Fairlead');
  };
}
