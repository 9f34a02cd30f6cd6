/** Who may ask for what: against DNS rebinding, cross-site requests and callers without the token. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { RequestHandler } from 'express';
import { sendProblem } from './problem.ts';

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** True for an address that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

export const securityHeaders: RequestHandler = (_request, response, next) => {
  response.setHeader('Content-Security-Policy', POLICY);
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('X-Frame-Options', 'DENY');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  response.setHeader('Cache-Control', 'no-store');
  next();
};

/** On loopback a request must name loopback: a page whose name was rebound to 127.0.0.1 still sends its own name. */
export const loopbackHost: RequestHandler = (request, response, next) => {
  const name = (request.headers.host ?? '')
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  if (isLoopback(name) || name.endsWith('.localhost')) return next();
  sendProblem(
    response,
    403,
    `host "${name}" is not served here`,
    'use localhost, or listen on another address (http:)',
  );
};

/** A page of another site can make a browser send a POST; it cannot hide its Origin, nor send JSON without being asked first. */
export const sameOrigin: RequestHandler = (request, response, next) => {
  const { origin, host } = request.headers;
  const site = request.headers['sec-fetch-site'];
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
    return sendProblem(response, 403, 'request from another site', 'send it from a program, or from the dashboard');
  }
  if (site === 'cross-site' || site === 'same-site') {
    return sendProblem(response, 403, 'request from another site', 'send it from a program, or from the dashboard');
  }
  const type = request.headers['content-type'];
  const length = request.headers['content-length'];
  const empty = length === '0' || (length === undefined && request.headers['transfer-encoding'] === undefined);
  if (!empty && !/^application\/json\s*(;|$)/i.test(type ?? '')) {
    return sendProblem(response, 415, 'the body must be JSON', 'send Content-Type: application/json, or no body');
  }
  next();
};

/**
 * A token that is configured is always asked for; without one only loopback may POST.
 * @param key of the configuration that holds the token
 */
export function authorized(token: string | null, onLoopback: boolean, key = 'http_token'): RequestHandler {
  return (request, response, next) => {
    if (token === null) {
      if (onLoopback) return next();
      return sendProblem(response, 403, 'operations are off: http is not loopback', 'set http_token and send it');
    }
    const given = /^Bearer +(.+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (timingSafeEqual(digest(given), digest(token))) return next();
    response.setHeader('WWW-Authenticate', 'Bearer');
    sendProblem(response, 401, 'the token is missing or wrong', `send Authorization: Bearer TOKEN (${key})`);
  };
}

/** Digests have one length, so comparing them takes one time. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
