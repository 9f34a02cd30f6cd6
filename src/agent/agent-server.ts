import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import express, { type Express, json, type RequestHandler } from 'express';
import { authorized, securityHeaders } from '../api/guard.ts';
import { notFound, onlyBy, problems } from '../api/problem.ts';
import type { AgentConfig } from '../config/config.ts';
import type { Address } from '../config/units.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { readPem } from '../transport/pem.ts';
import type { AgentPort, Requested } from './agent.ts';
import { type OperationKind, REQUESTS } from './operation.ts';

type ServerConfig = Pick<AgentConfig, 'listen' | 'tls_cert' | 'tls_key'>;

/** The agent's HTTP side. Whoever asks has to know the token, also to look: what it can do is as much as a login as the owner. */
export class AgentServer {
  readonly #agent: AgentPort;
  readonly #config: ServerConfig;
  readonly #token: string;
  readonly #log: Log;
  #server: Server | null = null;

  constructor(agent: AgentPort, config: ServerConfig, token: string, log: Log) {
    this.#agent = agent;
    this.#config = config;
    this.#token = token;
    this.#log = log;
  }

  /** @throws FairleadError port_taken, bad_config */
  async start(): Promise<Address> {
    const { host, port } = this.#config.listen;
    const server = this.#create();
    this.#server = server;
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen(port, host, resolve);
      });
    } catch (error) {
      const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (taken) throw new FairleadError('port_taken', `agent: port ${port} of ${host} is taken`, undefined, error);
      throw new FairleadError('bad_config', `agent: cannot listen on ${host}:${port}: ${messageOf(error)}`);
    }
    const bound = server.address() as AddressInfo;
    return { host: bound.address, port: bound.port };
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null || !server.listening) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }

  #create(): Server {
    const limits = { headersTimeout: 5000, requestTimeout: 10_000 };
    const { tls_cert, tls_key } = this.#config;
    if (tls_cert === null && tls_key === null) return createServer(limits, this.#application());
    if (tls_cert === null || tls_key === null) {
      throw new FairleadError('bad_config', 'agent: tls_cert and tls_key go together', 'set both, or none');
    }
    const [cert, key] = [readPem(tls_cert, 'agent.tls_cert'), readPem(tls_key, 'agent.tls_key')];
    try {
      return createSecureServer({ ...limits, cert, key, minVersion: 'TLSv1.2' }, this.#application());
    } catch (error) {
      throw new FairleadError('bad_config', `agent: tls_cert and tls_key do not go together: ${messageOf(error)}`);
    }
  }

  #application(): Express {
    const [token, log] = [this.#token, this.#log];
    const app = express();
    app.disable('x-powered-by');
    app.use(securityHeaders, authorized(token, false, 'agent.token'), json({ limit: '64kb' }));
    app
      .route('/status')
      .get(async (_request, response) => {
        response.json(await this.#agent.status());
      })
      .all(onlyBy('GET'));
    for (const kind of Object.keys(REQUESTS) as OperationKind[]) {
      app.route(`/${kind}`).post(this.#begin(kind)).all(onlyBy('POST'));
    }
    app.use(notFound);
    app.use(problems(log));
    return app;
  }

  /** 202 with the operation; `GET /status` tells how it goes on. */
  #begin(kind: OperationKind): RequestHandler {
    return async (request, response) => {
      const parsed = REQUESTS[kind].safeParse(request.body);
      if (!parsed.success) {
        const issue = parsed.error.issues[0];
        const where = issue?.path.length ? `.${issue.path.join('.')}` : '';
        throw new FairleadError('bad_parameter', `body${where}: ${issue?.message}`, 'correct the body');
      }
      this.#log.info({ from: request.socket.remoteAddress }, `asked to ${kind}`);
      const operation = await this.#agent.ask({ kind, body: parsed.data } as Requested);
      response.status(202).json({ operation });
    };
  }
}
