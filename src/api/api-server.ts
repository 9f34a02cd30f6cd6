/** The HTTP side: JSON for scripts, metrics for Prometheus, a page for people. Reads the model; asks `Operations` for changes. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import express, { type Express } from 'express';
import { FairleadError, messageOf } from '../core/errors.ts';
import { clusterRoutes } from './cluster-routes.ts';
import { dashboardRoutes } from './dashboard-routes.ts';
import { EventStream } from './event-stream.ts';
import { isLoopback, loopbackHost, securityHeaders } from './guard.ts';
import { historyRoutes } from './history-routes.ts';
import { HoldClock } from './hold-clock.ts';
import { LagRecorder } from './lag-recorder.ts';
import { Metrics } from './metrics.ts';
import { operatorRoutes } from './operator-routes.ts';
import { notFound, onlyBy, problems } from './problem.ts';
import { rejoinRoutes } from './rejoin-routes.ts';
import type { ApiDependencies } from './sources.ts';
import { TrafficRecorder } from './traffic-recorder.ts';
import { trafficRoutes } from './traffic-routes.ts';

/** Whoever does not finish a request, or does not read its answer, in this time is cut off. */
const LIMITS = {
  headersTimeoutMs: 5000,
  requestTimeoutMs: 10_000,
  keepAliveTimeoutMs: 5000,
  /** Covers a switchover that takes its time and a stream nobody reads. */
  silentSocketMs: 120_000,
  checkMs: 1000,
  headerBytes: 16 * 1024,
  connections: 512,
} as const;

export class ApiServer {
  readonly #deps: ApiDependencies;
  readonly #hold: HoldClock;
  readonly #lag: LagRecorder;
  readonly #trafficRecorder: TrafficRecorder;
  readonly #stream: EventStream;
  readonly #metrics: Metrics;
  #server: Server | undefined;

  constructor(deps: ApiDependencies) {
    this.#deps = deps;
    this.#hold = new HoldClock(deps.cluster, deps.sessions);
    this.#lag = new LagRecorder(deps.cluster);
    this.#trafficRecorder = new TrafficRecorder(deps.traffic);
    this.#stream = new EventStream(deps, this.#hold);
    this.#metrics = new Metrics(deps, this.#hold, this.#stream);
  }

  /** @throws FairleadError `port_taken`, `bad_config` when it cannot listen there. */
  async start(): Promise<{ host: string; port: number }> {
    const { host, port } = this.#deps.http;
    const server = createServer(
      {
        headersTimeout: LIMITS.headersTimeoutMs,
        requestTimeout: LIMITS.requestTimeoutMs,
        keepAliveTimeout: LIMITS.keepAliveTimeoutMs,
        connectionsCheckingInterval: LIMITS.checkMs,
        maxHeaderSize: LIMITS.headerBytes,
      },
      this.#application(),
    );
    server.maxConnections = LIMITS.connections;
    server.setTimeout(LIMITS.silentSocketMs);
    server.on('clientError', refuseGarbage);
    this.#server = server;
    await listen(server, host, port);
    this.#hold.start();
    this.#lag.start();
    this.#trafficRecorder.start();
    this.#stream.start();
    this.#metrics.start();
    const bound = server.address() as AddressInfo;
    return { host: bound.address, port: bound.port };
  }

  async stop(): Promise<void> {
    this.#stream.stop();
    this.#metrics.stop();
    this.#trafficRecorder.stop();
    this.#lag.stop();
    this.#hold.stop();
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined || !server.listening) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }

  #application(): Express {
    const deps = this.#deps;
    const onLoopback = isLoopback(deps.http.host);
    const app = express();
    app.disable('x-powered-by');
    app.set('query parser', 'simple');
    app.use(securityHeaders);
    if (onLoopback) app.use(loopbackHost);
    app.get(['/metrics', '/api/*rest'], async (_request, _response, next) => {
      await deps.refresh();
      next();
    });
    app.use(clusterRoutes(deps, this.#hold));
    app.use(historyRoutes(deps, this.#lag, this.#trafficRecorder));
    app.use(trafficRoutes(deps));
    app
      .route('/api/stream')
      .get((request, response) => this.#stream.open(request, response))
      .all(onlyBy('GET'));
    app
      .route('/metrics')
      .get(async (_request, response) => {
        response.setHeader('Content-Type', this.#metrics.contentType);
        response.send(await this.#metrics.text());
      })
      .all(onlyBy('GET'));
    app.use(rejoinRoutes(deps, onLoopback));
    app.use(operatorRoutes(deps, onLoopback));
    app.use(dashboardRoutes());
    app.use(notFound);
    app.use(problems(deps.log));
    return app;
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new FairleadError(
        'port_taken',
        `http: port ${port} of ${host} is taken`,
        'stop the program that has it, or choose another (http:)',
        error,
      );
    }
    throw new FairleadError(
      'bad_config',
      `http: cannot listen on ${host}:${port}: ${messageOf(error)}`,
      undefined,
      error,
    );
  }
}

/** What is not HTTP, or takes too long to become it, gets one line and no connection. */
function refuseGarbage(error: NodeJS.ErrnoException, socket: Socket & { destroyed: boolean }): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy());
}
