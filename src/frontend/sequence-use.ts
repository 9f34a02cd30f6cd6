import type { LinkHolder } from '../backend/link-holder.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import type { Verdict } from '../sql/verdict.ts';
import type { Services } from './services.ts';

/**
 * Which server connection knows the sequence values that `currval` and `lastval` of one session tell. While there are enough connections
 * the session finds its own again. Where another session has used it since, the values are forgotten before they can be told to the wrong
 * one; that is an error to the client, and from then on sessions of that user in that database keep the connection they drew values on.
 */
export class SequenceUse {
  readonly #services: Services;
  readonly #kind: string;
  readonly #holder: LinkHolder;
  #drew = false;

  constructor(services: Services, database: string, user: string, holder: LinkHolder) {
    this.#services = services;
    this.#kind = `${database}\0${user}`;
    this.#holder = holder;
  }

  /** Statements ran on a connection that can write. @returns true when the session must keep it. */
  ran(verdicts: readonly Verdict[], connection: ServerConnection): boolean {
    if (!verdicts.some((verdict) => verdict.mayAdvanceSequence === true)) return false;
    this.#drew = true;
    connection.sequencesOf = this.#holder;
    return this.#services.sequenceReaders.has(this.#kind);
  }

  /** True when the statements tell values, and those of the connection are not the session's. */
  strange(verdicts: readonly Verdict[], connection: ServerConnection): boolean {
    if (connection.sequencesOf === this.#holder || !verdicts.some((v) => v.pin === 'sequence state')) return false;
    connection.sequencesOf = this.#holder;
    if (this.#drew) this.#services.sequenceReaders.add(this.#kind);
    return true;
  }
}
