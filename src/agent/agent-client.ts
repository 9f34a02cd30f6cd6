import type { Address } from '../config/units.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import type { AgentPort, Requested } from './agent.ts';
import { type AgentAccess, type AgentAnswer, askAgent, baseOf } from './agent-exchange.ts';
import type { AgentStatus, Operation } from './operation.ts';

const ANSWER_MS = 10_000;

/** An agent that is reached over HTTP. */
export class AgentClient implements AgentPort {
  readonly #address: Address;
  readonly #access: AgentAccess;

  constructor(address: Address, access: AgentAccess) {
    this.#address = address;
    this.#access = access;
  }

  async status(): Promise<AgentStatus> {
    return (await this.#call('/status', null)) as AgentStatus;
  }

  async ask({ kind, body }: Requested): Promise<Operation> {
    return ((await this.#call(`/${kind}`, body ?? {})) as { operation: Operation }).operation;
  }

  /** @throws FairleadError server_unreachable, refused */
  async #call(path: string, body: object | null): Promise<unknown> {
    if (this.#access.token === null) {
      throw new FairleadError(
        'bad_config',
        'no token for the agents',
        'set agent.token, the same as beside the servers',
      );
    }
    const base = baseOf(this.#address, this.#access);
    let answered: AgentAnswer;
    try {
      answered = await askAgent(this.#address, this.#access, path, body, ANSWER_MS);
    } catch (error) {
      if (error instanceof FairleadError) throw error;
      throw new FairleadError(
        'server_unreachable',
        `no agent answers at ${base}: ${messageOf(error)}`,
        remedyFor(error, this.#access),
      );
    }
    const { status, text } = answered;
    const answer = parsed(text);
    if (status >= 200 && status < 300 && answer !== null) return answer;
    const { error, remedy } = (answer ?? {}) as { error?: string; remedy?: string };
    throw new FairleadError('refused', `the agent at ${base}: ${error ?? `answered ${status}`}`, remedy);
  }
}

/** Somebody is there, and speaks TLS while we do not, or the other way round; or shows a certificate that is not to be believed. */
function remedyFor(error: unknown, { tls_ca }: AgentAccess): string {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (tls_ca === null && (code === 'ECONNRESET' || code.startsWith('HPE_')))
    return 'where the agent has a tls_cert, set agent.tls_ca for Fairlead';
  if (tls_ca !== null && !/^E[A-Z]+$/.test(code) && code !== 'ABORT_ERR')
    return 'compare agent.tls_ca with the agent’s tls_cert, and the name in that with the address of the agent';
  return 'start `fairlead agent` beside the server';
}

function parsed(text: string): object | null {
  try {
    return JSON.parse(text) as object;
  } catch {
    return null;
  }
}

const POLL_MS = 200;
/** An agent that does not answer for so long is given up; a restart of it takes less. */
const LOST_MS = 30_000;

/**
 * Has an agent do something, and waits for the end.
 * @param progress told whenever it is asked how far it is
 * @throws FairleadError with the agent's reason, or when it was lost
 */
export async function perform(
  agent: AgentPort,
  requested: Requested,
  progress: (operation: Operation) => void,
  signal?: AbortSignal,
): Promise<void> {
  const { id, kind } = await agent.ask(requested);
  let heardMs = performance.now();
  let told = 0;
  for (;;) {
    await sleep(POLL_MS, signal);
    if (signal?.aborted) throw new FairleadError('shutting_down', `${kind} goes on at the agent`, 'look again later');
    let operation: Operation | null;
    try {
      ({ operation } = await agent.status());
      heardMs = performance.now();
    } catch (error) {
      if (performance.now() - heardMs < LOST_MS) continue;
      throw error;
    }
    if (operation?.id !== id) {
      const remedy = 'run it again: that is safe';
      throw new FairleadError('refused', `the agent was started anew in the middle of ${kind}`, remedy);
    }
    const { stages } = operation;
    for (const stage of stages.slice(told, -1)) progress({ ...operation, stage, doneBytes: null, totalBytes: null });
    told = Math.max(told, stages.length - 1);
    progress(operation);
    if (operation.state === 'done') return;
    if (operation.state === 'failed') {
      throw new FairleadError('refused', operation.error ?? `${kind} failed`, operation.remedy ?? undefined);
    }
  }
}
