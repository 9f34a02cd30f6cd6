/** Speaks to the HTTP API of a running Fairlead. */
import { FairleadError, messageOf } from '../core/errors.ts';
import { parseOptions } from './arguments.ts';
import type { Context, ExitCode } from './command.ts';

export const REMOTE_OPTIONS = {
  http: { type: 'string' },
  token: { type: 'string' },
  json: { type: 'boolean' },
} as const;

export type Remote = { readonly base: string; readonly token: string | null };

/** @throws FairleadError bad_arguments for something that is no URL. */
export function remoteFrom(values: { http?: string; token?: string }, environment: NodeJS.ProcessEnv): Remote {
  const given = values.http ?? 'http://127.0.0.1:8432';
  const text = /^https?:\/\//.test(given) ? given : `http://${given}`;
  if (!URL.canParse(text)) throw new FairleadError('bad_arguments', `--http ${given} is not a URL`);
  return { base: text.replace(/\/+$/, ''), token: values.token ?? environment.FAIRLEAD_HTTP_TOKEN ?? null };
}

/**
 * @param body null asks with GET
 * @throws FairleadError refused with the reason that Fairlead gives; server_unreachable when nobody answers.
 */
export async function callRemote(remote: Remote, path: string, body: object | null): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(`${remote.base}${path}`, {
      method: body === null ? 'GET' : 'POST',
      headers: {
        ...(remote.token === null ? {} : { authorization: `Bearer ${remote.token}` }),
        ...(body === null ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === null ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    const why = messageOf((error as { cause?: unknown }).cause ?? error);
    const remedy = 'start it, or say where it is with --http URL';
    throw new FairleadError('server_unreachable', `no Fairlead answers at ${remote.base}: ${why}`, remedy);
  }
  const text = await response.text();
  const answer = parseJson(text) as { error?: string; remedy?: string } | null;
  if (response.ok && answer !== null) return answer;
  const reason = answer?.error ?? `${remote.base}${path} answered ${response.status}`;
  throw new FairleadError('refused', reason, answer?.remedy ?? 'check that --http names a Fairlead');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

type Request = { readonly path: string; readonly body: object };

/** Runs a command that asks for one thing: options, request, and the answer as a line or as JSON. */
export async function operate(
  args: readonly string[],
  context: Context,
  words: number,
  request: (words: readonly string[]) => Request,
  describe: (answer: Record<string, unknown>) => string,
): Promise<ExitCode> {
  const parsed = parseOptions(args, REMOTE_OPTIONS, words);
  const { path, body } = request(parsed.words);
  const answer = (await callRemote(remoteFrom(parsed.values, context.environment), path, body)) as Record<
    string,
    unknown
  >;
  context.print(parsed.values.json ? JSON.stringify(answer) : describe(answer));
  return 0;
}

/** The one word that names a node. @throws FairleadError bad_arguments when it is missing. */
export function nodeWord(words: readonly string[]): string {
  const name = words[0];
  if (name === undefined) throw new FairleadError('bad_arguments', 'name the node');
  return name;
}
