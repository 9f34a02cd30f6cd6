import type { LinkHolder } from '../backend/link-holder.ts';
import type { ServerConnection } from '../backend/server-connection.ts';
import { pinsFor, type Verdict } from '../sql/verdict.ts';
import { mayWrite } from './open-writes.ts';
import type { Services } from './services.ts';
import type { Client } from './session.ts';

/**
 * Which server connection knows the sequence values that `currval` and `lastval` of one session tell. While there are enough connections
 * the session finds its own again. Where another session has used it since, the values are forgotten before they can be told to the wrong
 * one; that is an error to the client, and from then on sessions of that user in that database keep the connection they drew values on.
 */
export class SequenceUse {
  readonly #services: Services;
  readonly #client: Client;
  readonly #holder: LinkHolder;
  #drew = false;

  constructor(services: Services, client: Client, holder: LinkHolder) {
    this.#services = services;
    this.#client = client;
    this.#holder = holder;
  }

  /** Its sessions are alike in this. */
  get #kind(): string {
    const { database, identity } = this.#client;
    return `${database}\0${identity.user}`;
  }

  /** Statements ran on a connection that can write. @returns true when the session must keep it. */
  ran(verdicts: readonly Verdict[], connection: ServerConnection): boolean {
    let draws = false;
    for (const verdict of verdicts) {
      if (verdict.mayAdvanceSequence === true) draws = true;
      // a trigger may draw as well: nobody else may be told that
      else if (!mayWrite(verdict)) continue;
      connection.sequencesOf = this.#holder;
    }
    if (!draws) return false;
    this.#drew = true;
    return this.#services.sequenceReaders.has(this.#kind);
  }

  /**
   * True when the statements tell values, and those of the connection are not the session's.
   * @param open more will be added to them that is not looked at before it runs
   */
  strange(verdicts: readonly Verdict[], open: boolean, connection: ServerConnection): boolean {
    const { sequencesOf } = connection;
    if (sequencesOf === this.#holder) return false;
    const reads = tellsValues(verdicts);
    if (!reads && !(open && sequencesOf !== null)) return false;
    connection.sequencesOf = this.#holder;
    if (this.#drew && reads && !this.#services.sequenceReaders.has(this.#kind)) {
      this.#services.sequenceReaders.add(this.#kind);
      this.#services.neighbours.sequenceReader(this.#kind);
    }
    return true;
  }
}

function tellsValues(verdicts: readonly Verdict[]): boolean {
  for (const verdict of verdicts) if (pinsFor(verdict, 'sequence state')) return true;
  return false;
}
