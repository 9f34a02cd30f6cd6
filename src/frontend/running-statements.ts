import type { Exchange } from '../backend/exchange.ts';
import type { LinkHolder } from '../backend/link-holder.ts';
import { nowMs } from '../core/clock.ts';
import type { Causality } from '../routing/causality.ts';
import { pinsFor, type Verdict } from '../sql/verdict.ts';
import { account, type LastRoute } from './accounting.ts';
import type { Transaction } from './client-output.ts';
import { noteEffects } from './effects.ts';
import type { ExtendedReader } from './extended-reader.ts';
import type { Link } from './link.ts';
import { mentionedSettings } from './mentioned-settings.ts';
import { OpenWrites } from './open-writes.ts';
import { SequenceUse } from './sequence-use.ts';
import type { Services } from './services.ts';
import type { Client } from './session.ts';
import type { SessionMemory } from './session-memory.ts';
import type { SessionOptions } from './session-options.ts';
import { type Summary, summarize, UNKNOWN, type Work } from './work.ts';

/** What statements of a session leave something in. */
export type SessionState = {
  readonly memory: SessionMemory;
  readonly options: SessionOptions;
  readonly causality: Causality;
};

const NONE: readonly Verdict[] = [];

/** The statements of the request at hand, and what follows for the session from their having run. */
export class RunningStatements {
  readonly #client: Client;
  readonly #services: Services;
  readonly #session: SessionState;
  readonly #statements: ExtendedReader;
  readonly #writes = new OpenWrites();
  readonly sequences: SequenceUse;
  /** Of the request as it was when it came, and of all that was added to it. */
  summary: Summary = UNKNOWN;
  /** All of them. */
  all: readonly Verdict[] = NONE;
  /** Those that do not stay at being parsed. */
  running: readonly Verdict[] = NONE;
  /** Where the last request went. */
  lastRoute: LastRoute | null = null;

  constructor(client: Client, services: Services, session: SessionState & LinkHolder, statements: ExtendedReader) {
    this.#client = client;
    this.#services = services;
    this.#session = session;
    this.#statements = statements;
    this.sequences = new SequenceUse(services, client, session);
  }

  accept(work: Work): void {
    this.summary = summarize(work.verdicts);
  }

  /** They are about to run. */
  begin({ batch, verdicts, synced }: Work): void {
    this.all = verdicts;
    this.running = batch === null ? verdicts : [...batch.bound, ...verdicts.slice(batch.verdicts.length)];
    if (batch !== null && (verdicts.length > 1 || !synced)) this.#session.memory.foresee(this.running);
  }

  /** More of them came after the exchange had begun. */
  add(verdicts: readonly Verdict[], running: readonly Verdict[]): void {
    if (verdicts.length === 0) return;
    this.all = [...this.all, ...verdicts];
    this.running = [...this.running, ...running];
    this.summary = summarize(this.all);
    this.#session.memory.foresee(this.running);
  }

  /** True when the open transaction may have written. */
  get wrote(): boolean {
    return this.#writes.any;
  }

  get listen(): boolean {
    return this.running.some((verdict) => pinsFor(verdict, 'listen'));
  }

  /**
   * They were answered.
   * @param before the transaction that was open
   * @param now the one that is
   * @param certain false where something may have been bound and not executed
   */
  answered(link: Link, work: Work, exchange: Exchange, before: Transaction, now: Transaction, certain: boolean): void {
    const { cluster } = this.#services;
    const { memory, options, causality } = this.#session;
    const { running, summary } = this;
    const pinned = memory.pinned !== null;
    this.lastRoute = account(this.#services, link, work, exchange, summary, before !== 'none', pinned);
    if (link.readOnly) causality.ranOnReplica(link.node.name, nowMs());
    else causality.ranOnPrimary(cluster.samples.next);
    const succeeded = exchange.sqlState === null;
    if (succeeded && !link.readOnly) this.#writes.note(running);
    if (!link.readOnly && this.sequences.ran(running, link.connection)) memory.pin('sequence state');
    if (now === 'none') this.#writes.acknowledge(cluster, causality, this.#client.address);
    if (exchange.undone !== null) this.#statements.undo(exchange.undone);
    memory.mentioned(mentionedSettings(work, running));
    noteEffects(running, succeeded, now !== 'none', certain, memory, options, link.connection);
  }

  /** The session has no server connection any more. */
  rested(): void {
    this.all = NONE;
    this.running = NONE;
  }

  /** They, and the transaction that was open, were lost. */
  lost(): void {
    this.#writes.take();
  }
}

/** True when nothing was bound that was not executed. Of a batch that went out in parts nobody has looked. */
export function ranAll({ batch, synced }: Work, running: readonly Verdict[]): boolean {
  if (batch === null) return true;
  for (const { resets = [], releases = [], unpin } of running) {
    if (resets.length > 0 || releases.length > 0 || unpin !== null) return synced && batch.runsWhatItBinds;
  }
  return true;
}
