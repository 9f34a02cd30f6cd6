import { type ClientRequest, request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import type { AgentConfig } from '../config/config.ts';
import type { Address } from '../config/units.ts';
import { readPem } from '../transport/pem.ts';

/** What whoever asks an agent has to know. `unverified`: whatever certificate it shows; for an agent that asks itself. */
export type AgentAccess = Pick<AgentConfig, 'token' | 'tls_ca'> & { readonly unverified?: boolean };

export type AgentAnswer = { readonly status: number; readonly text: string };

/** How agents are reached: with TLS where it is said how their certificates are verified. */
export function baseOf({ host, port }: Address, { tls_ca }: AgentAccess): string {
  return `${tls_ca === null ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * One request to an agent.
 * @param body null: GET
 * @throws what Node says when there is no answer, FairleadError bad_config
 */
export function askAgent(
  address: Address,
  access: AgentAccess,
  path: string,
  body: object | null,
  timeoutMs: number,
): Promise<AgentAnswer> {
  const { token, tls_ca, unverified = false } = access;
  const url = `${baseOf(address, access)}${path}`;
  const options = {
    method: body === null ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(timeoutMs),
    // an agent that was started anew knows nothing of older connections
    agent: false as const,
  };
  return new Promise((resolve, reject) => {
    const request: ClientRequest =
      tls_ca === null
        ? requestPlain(url, options)
        : requestSecure(url, {
            ...options,
            minVersion: 'TLSv1.2',
            rejectUnauthorized: !unverified,
            ...(tls_ca === 'system' ? {} : { ca: readPem(tls_ca, 'agent.tls_ca') }),
          });
    request.once('error', reject);
    request.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        text += piece;
      });
      response.once('error', reject);
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.end(body === null ? undefined : JSON.stringify(body));
  });
}
