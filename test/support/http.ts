/** HTTP for tests: node:http, because `fetch` does not let a test lie about Host and Origin. */
import { type IncomingHttpHeaders, request } from 'node:http';

// biome-ignore lint/suspicious/noExplicitAny: answers of an API are looked at field by field
export type Json = any;

export type Answer = { status: number; headers: IncomingHttpHeaders; text: string; body: Json };

export function httpGet(url: string, headers: Record<string, string> = {}): Promise<Answer> {
  return ask('GET', url, headers);
}

/** A string is sent as it is, anything else as JSON. */
export function httpPost(url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  if (typeof body === 'string') return ask('POST', url, headers, body);
  if (body === undefined) return ask('POST', url, headers);
  return ask('POST', url, { 'Content-Type': 'application/json', ...headers }, JSON.stringify(body));
}

function ask(method: string, url: string, headers: Record<string, string>, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const isJson = response.headers['content-type']?.startsWith('application/json') === true;
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          body: isJson ? JSON.parse(text) : null,
        });
      });
    });
    asked.on('error', reject);
    asked.end(body);
  });
}
