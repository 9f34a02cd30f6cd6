import { nowMs } from '../core/clock.ts';
import type { Verdict } from '../sql/verdict.ts';
import { CLIENT } from '../wire/message-type.ts';
import { Batch } from './batch.ts';
import { ExtendedReader } from './extended-reader.ts';
import { functionCallVerdict } from './function-call.ts';
import type { NameUse } from './name-use.ts';
import { SchemaView } from './schema-view.ts';
import type { Services } from './services.ts';
import type { Work } from './work.ts';

/** A batch longer than this goes to the server before its Sync. */
const BATCH_BYTES = 1024 * 1024;

/** What a message of an idle client amounts to. */
export type Request =
  | Work
  | { readonly kind: 'sync' } // a Sync with nothing before it
  | { readonly kind: 'none' } // nothing to do yet, or nothing at all
  | { readonly kind: 'violation'; readonly reason: string };

/** What a query amounts to. */
export type Queried = { readonly verdicts: readonly Verdict[]; readonly use: NameUse | null };

const NONE: Request = { kind: 'none' };
const NOTHING: readonly string[] = [];
const EMPTY_SYNC: Request = { kind: 'sync' };

/** Turns the messages of a client into requests that can be placed: single queries, and batches of the extended protocol. */
export class RequestReader {
  /** The statements the client has prepared. */
  readonly statements: ExtendedReader;
  /** What the session may believe of the catalog. */
  readonly schema: SchemaView;
  /** What was collected; null: nothing. */
  #batch: Batch | null = null;

  constructor(services: Services, database: string) {
    this.schema = new SchemaView(services.catalogs, database);
    this.statements = new ExtendedReader(services, this.schema);
  }

  /** True when messages were collected whose end has not come. */
  get unfinished(): boolean {
    return !this.#nothing;
  }

  /** True when the batch has grown so much that it should not wait for its end. */
  get overfull(): boolean {
    return this.#batch !== null && this.#batch.bytes > BATCH_BYTES;
  }

  /** @param linked the session holds a server connection already */
  read(type: number, buffer: Buffer, start: number, end: number, linked: boolean): Request {
    switch (type) {
      case CLIENT.QUERY:
      case CLIENT.FUNCTION_CALL:
        return this.#query(type, buffer, start, end);
      case CLIENT.PARSE:
      case CLIENT.BIND:
      case CLIENT.DESCRIBE:
      case CLIENT.EXECUTE:
      case CLIENT.CLOSE: {
        const fault = this.collect(type, buffer, start, end);
        if (fault !== null) return { kind: 'violation', reason: fault };
        return this.overfull ? this.#whole(false, false) : NONE;
      }
      case CLIENT.SYNC:
        // it may end a transaction that nobody began: of a batch that a query stood behind
        return this.#nothing && !linked ? EMPTY_SYNC : this.#whole(true, false);
      case CLIENT.FLUSH:
        return this.#nothing ? NONE : this.#whole(false, !linked && !this.#executes);
      case CLIENT.COPY_DATA:
      case CLIENT.COPY_DONE:
      case CLIENT.COPY_FAIL:
        // behind nothing, it is of a copy that the server ended early: ignored, as the server does
        if (!this.#nothing) this.collect(type, buffer, start, end);
        return this.overfull ? this.#whole(false, false) : NONE;
      default:
        return { kind: 'violation', reason: `type ${type}` };
    }
  }

  /** The beginning of a message too large to be collected. `length` is that of the whole. */
  readLarge(type: number, length: number, bytes: Buffer): Request {
    if (type === CLIENT.QUERY || type === CLIENT.FUNCTION_CALL) {
      const verdicts = [type === CLIENT.QUERY ? this.#unread(bytes) : functionCallVerdict(bytes, 0, bytes.length)];
      return newWork('stream', verdicts, null, bytes, null, true, false);
    }
    if (type === CLIENT.COPY_DATA) {
      if (this.#nothing) return NONE; // as above
      this.collectLargeData(length, bytes);
      return this.#whole(false, false);
    }
    if (type !== CLIENT.BIND) return { kind: 'violation', reason: `${String.fromCharCode(type)} of ${length} bytes` };
    if (!this.collectLargeBind(length, bytes)) return { kind: 'violation', reason: 'Bind' };
    return this.#whole(false, false);
  }

  /** Adds a message to the batch. @returns what is wrong with it, or null. */
  collect(type: number, buffer: Buffer, start: number, end: number): string | null {
    return this.statements.add(this.#collecting(), type, buffer, start, end);
  }

  /** @returns false when it is malformed */
  collectLargeBind(length: number, bytes: Buffer): boolean {
    return this.statements.largeBind(this.#collecting(), length, bytes);
  }

  /** The beginning of copied data that comes before the server has asked for it. */
  collectLargeData(length: number, bytes: Buffer): void {
    this.#collecting().addLarge(CLIENT.COPY_DATA, bytes, length, null, null);
  }

  /** What was collected as a request, before its end has come: where something runs, or a server connection is there anyway. */
  early(linked: boolean): Request {
    return this.#nothing || !(linked || this.#executes) ? NONE : this.#whole(false, false);
  }

  /** What was collected; the next message begins another batch. */
  takeBatch(): Batch {
    const batch = this.#collecting();
    this.#batch = null;
    return batch;
  }

  get #nothing(): boolean {
    return this.#batch === null || this.#batch.empty;
  }

  /** True when something that was collected runs. */
  get #executes(): boolean {
    return this.#batch?.executes === true;
  }

  #collecting(): Batch {
    this.#batch ??= new Batch();
    return this.#batch;
  }

  /** The verdicts on a query or a function call, and what it does with names of statements. */
  queried(type: number, buffer: Buffer, start: number, end: number): Queried {
    if (type !== CLIENT.QUERY) return { verdicts: [functionCallVerdict(buffer, start, end)], use: null };
    this.statements.dropUnnamed();
    const verdict = this.statements.classify(buffer, start + 5, end - 1);
    const use = this.statements.queried(verdict);
    return { verdicts: use === null ? [verdict] : [verdict, ...use.executes], use };
  }

  #query(type: number, buffer: Buffer, start: number, end: number): Request {
    if (type === CLIENT.QUERY && buffer[end - 1] !== 0) {
      return { kind: 'violation', reason: 'query without its terminator' };
    }
    const { verdicts, use } = this.queried(type, buffer, start, end);
    const raw = buffer.subarray(start, end);
    if (this.#nothing) return newWork('query', verdicts, null, raw, use, true, false);
    // a query instead of a Sync ends the batch and runs in its transaction
    const batch = this.takeBatch();
    return newWork('batch', [...batch.verdicts, ...verdicts], batch, raw, use, true, false);
  }

  /** Only the beginning of the text is here: unless it is one INSERT, it may leave behind anything. */
  #unread(bytes: Buffer): Verdict {
    const verdict = this.statements.classify(bytes, 5, bytes.length);
    return Object.freeze({
      ...verdict,
      class: verdict.class === 'write' ? 'write' : 'unknown',
      changesSettings: true,
      pin: verdict.class === 'write' ? verdict.pin : 'server state',
      command: null,
      hint: null,
    } satisfies Verdict);
  }

  /** What was collected. */
  #whole(synced: boolean, describeOnly: boolean): Work {
    const batch = this.takeBatch();
    return newWork('batch', batch.verdicts, batch, null, null, synced, describeOnly);
  }
}

function newWork(
  kind: Work['kind'],
  verdicts: readonly Verdict[],
  batch: Batch | null,
  raw: Buffer | null,
  use: NameUse | null,
  synced: boolean,
  describeOnly: boolean,
): Work {
  return {
    kind,
    verdicts,
    batch,
    raw,
    use,
    synced,
    describeOnly,
    startedMs: nowMs(),
    losses: 0,
    audit: undefined,
    avoid: null,
    alone: false,
    forced: null,
    listens: NOTHING,
  };
}
