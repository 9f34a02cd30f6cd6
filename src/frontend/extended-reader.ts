import type { Undone } from '../backend/exchange.ts';
import type { PreparedStatement } from '../backend/prepared-statement.ts';
import { unknownShape } from '../backend/statement-shape.ts';
import type { StatementUse, Verdict } from '../sql/verdict.ts';
import { stringEnd } from '../wire/fields.ts';
import { CLIENT } from '../wire/message-type.ts';
import type { Batch, SessionStatement } from './batch.ts';
import { type NameUse, useNames } from './name-use.ts';
import type { SchemaView } from './schema-view.ts';
import type { Services } from './services.ts';
import type { Work } from './work.ts';

const STATEMENT = 0x53; // 'S' in Describe and Close

/** Reads the messages of the extended protocol; keeps the statements that the session has prepared, by its own names. */
export class ExtendedReader {
  readonly #services: Services;
  readonly #schema: SchemaView;
  /** Null while nothing was ever prepared. */
  #prepared: Map<string, SessionStatement> | null = null;
  /** Portals whose statements use names of statements; null while there never was one. */
  #portals: Map<string, readonly StatementUse[]> | null = null;

  constructor(services: Services, schema: SchemaView) {
    this.#services = services;
    this.#schema = schema;
  }

  /** Statements under their names, the unnamed one included. */
  get size(): number {
    return this.#prepared?.size ?? 0;
  }

  get #statements(): Map<string, SessionStatement> {
    this.#prepared ??= new Map();
    return this.#prepared;
  }

  classify(buffer: Buffer, start: number, end: number): Verdict {
    return this.#services.classifier.classify(buffer, start, end, this.#schema.catalog);
  }

  /** Adds one whole message to the batch. @returns what is wrong with it, or null. */
  add(batch: Batch, type: number, buffer: Buffer, start: number, end: number): string | null {
    const raw = buffer.subarray(start, end);
    switch (type) {
      case CLIENT.PARSE: {
        const nameEnd = stringEnd(buffer, start + 5, end);
        const textEnd = nameEnd === -1 ? -1 : stringEnd(buffer, nameEnd + 1, end);
        if (textEnd === -1 || end - textEnd < 3) return 'Parse';
        const name = buffer.toString('utf8', start + 5, nameEnd);
        const { catalog } = this.#schema;
        const { learned } = this.#services.classifier;
        const verdict = this.#services.classifier.classify(buffer, nameEnd + 1, textEnd, catalog);
        const use = this.#described(verdict);
        const { statements } = this.#services;
        const body = buffer.subarray(nameEnd + 1, end);
        const prepared = verdict.ofSession === true ? statements.own(body) : statements.intern(body);
        const before = this.#prepared?.get(name) ?? null;
        const statement = { prepared, verdict, catalog, learned, told: unknownShape() };
        // a name in use stands for what it stood for: the server will refuse
        if (before === null || name === '') this.#statements.set(name, statement);
        batch.add(type, raw, name, statement, before, use);
        return null;
      }
      case CLIENT.BIND: {
        const portalEnd = stringEnd(buffer, start + 5, end);
        const nameEnd = portalEnd === -1 ? -1 : stringEnd(buffer, portalEnd + 1, end);
        if (nameEnd === -1) return 'Bind';
        const name = buffer.toString('utf8', portalEnd + 1, nameEnd);
        const statement = this.#current(name);
        this.#bound(buffer.toString('utf8', start + 5, portalEnd), statement);
        batch.add(type, raw, name, statement, null, statement && this.#described(statement.verdict));
        return null;
      }
      case CLIENT.DESCRIBE:
      case CLIENT.CLOSE: {
        const nameEnd = end - start < 7 ? -1 : stringEnd(buffer, start + 6, end);
        if (nameEnd === -1) return type === CLIENT.CLOSE ? 'Close' : 'Describe';
        if (buffer[start + 5] !== STATEMENT) {
          batch.add(type, raw, null, null);
          return null;
        }
        const name = buffer.toString('utf8', start + 6, nameEnd);
        if (type === CLIENT.DESCRIBE) {
          const statement = this.#current(name);
          batch.add(type, raw, name, statement, null, statement && this.#described(statement.verdict));
        } else {
          batch.add(type, raw, name, null, this.#prepared?.get(name) ?? null);
          this.#prepared?.delete(name);
        }
        return null;
      }
      case CLIENT.EXECUTE: {
        const portalEnd = this.#portals === null || this.#portals.size === 0 ? -1 : stringEnd(buffer, start + 5, end);
        const uses = portalEnd === -1 ? undefined : this.#portals?.get(buffer.toString('utf8', start + 5, portalEnd));
        batch.add(type, raw, null, null, null, uses === undefined ? null : useNames(uses, this.#statements));
        return null;
      }
      case CLIENT.COPY_DATA:
      case CLIENT.COPY_DONE:
      case CLIENT.COPY_FAIL:
        batch.add(type, raw, null, null);
        return null;
      default:
        return `type ${type}`;
    }
  }

  /**
   * The beginning of a Bind too large to be collected. The name in it is rewritten, which changes the length of the whole.
   * @returns false when it is malformed
   */
  largeBind(batch: Batch, length: number, bytes: Buffer): boolean {
    const portalEnd = stringEnd(bytes, 5, bytes.length);
    const nameEnd = portalEnd === -1 ? -1 : stringEnd(bytes, portalEnd + 1, bytes.length);
    if (nameEnd === -1) return false;
    const name = bytes.toString('utf8', portalEnd + 1, nameEnd);
    const statement = this.#current(name);
    this.#bound(bytes.toString('utf8', 5, portalEnd), statement);
    batch.addLarge(CLIENT.BIND, bytes, length, name, statement);
    return true;
  }

  /** What a query does with names; those that it deallocates are free from now on. */
  queried({ statementUses }: Verdict): NameUse | null {
    return statementUses === undefined ? null : useNames(statementUses, this.#statements);
  }

  /** Nothing of a request was done. */
  abandoned(work: Work): void {
    this.undo(work.use?.deallocation?.gone ?? []);
    if (work.batch !== null) this.undo(work.batch.undone());
  }

  /** A simple query takes the unnamed statement with it. */
  dropUnnamed(): void {
    this.#prepared?.delete('');
  }

  /** What the server did not do because of an error. */
  undo(changes: readonly Undone[]): void {
    for (const { name, statement } of changes) {
      if (statement === null) this.#prepared?.delete(name);
      else this.#statements.set(name, { prepared: statement, ...this.#judged(statement), told: unknownShape() });
    }
  }

  /** A replica answered that the statement writes. */
  learnWrite(work: Work): void {
    const reason = 'a replica refused it as a write';
    if (work.raw !== null && work.batch === null) {
      return this.#services.classifier.learnWrite(work.raw, 5, work.raw.length - 1, reason);
    }
    for (const item of work.batch?.items() ?? []) {
      const body = item.statement?.prepared.body;
      if (body !== undefined) this.#services.classifier.learnWrite(body, 0, body.indexOf(0), reason);
    }
  }

  /** What EXECUTE returns is that statement's to say, when it is parsed and each time it is described. */
  #described({ statementUses }: Verdict): NameUse | null {
    const executes = statementUses?.filter(({ kind }) => kind === 'execute') ?? [];
    return executes.length === 0 ? null : useNames(executes, this.#statements);
  }

  #bound(portal: string, statement: SessionStatement | null): void {
    const uses = statement?.verdict.statementUses;
    if (uses !== undefined) {
      this.#portals ??= new Map();
      this.#portals.set(portal, uses);
    } else this.#portals?.delete(portal);
  }

  /** The statement under a name, with a verdict as of now: the catalog, or what was learnt, may have changed. */
  #current(name: string): SessionStatement | null {
    const known = this.#prepared?.get(name);
    if (known === undefined) return null;
    if (known.catalog === this.#schema.catalog && known.learned === this.#services.classifier.learned) return known;
    const renewed = { ...known, ...this.#judged(known.prepared) };
    this.#statements.set(name, renewed);
    return renewed;
  }

  #judged({ body }: PreparedStatement): Pick<SessionStatement, 'verdict' | 'catalog' | 'learned'> {
    const { catalog } = this.#schema;
    const { learned } = this.#services.classifier;
    return { verdict: this.#services.classifier.classify(body, 0, body.indexOf(0), catalog), catalog, learned };
  }
}
