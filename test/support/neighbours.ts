import { sleep } from '../../src/core/sleep.ts';
import { bind, closePortal, execute, parse, RawClient, sync } from './raw-client.ts';

/** Server connections of each pool. A conversation of so many sessions leaves no room for neighbours. */
export const POOL_SIZE = 4;
/** A neighbour that has no connection by then waits for one: the sessions of the conversation hold all that are left. */
const WAITS_MS = 8;

/**
 * Other sessions of the same user and database, unlike it in every setting, that keep a pool's connections going round: between two
 * steps of a session they take the connection it had and give it one that they had. What works by luck on one connection fails here.
 */
export class Neighbours {
  readonly #rings: readonly Ring[];

  private constructor(rings: readonly Ring[]) {
    this.#rings = rings;
  }

  /** Takes connections of the primary's pool and of the replica's. */
  static async connect(url: string): Promise<Neighbours> {
    return new Neighbours(
      await Promise.all(['BEGIN READ WRITE', 'BEGIN READ ONLY'].map((begin) => Ring.connect(url, begin))),
    );
  }

  /** From now on just so many connections of each pool are free as there are sessions in the conversation, and not those that it had. */
  async turn(sessions: number): Promise<void> {
    await Promise.all(this.#rings.map((ring) => ring.turn(sessions)));
  }

  close(): void {
    for (const ring of this.#rings) ring.close();
  }
}

class Ring {
  readonly #begin: string;
  readonly #idle: RawClient[] = [];
  /** Longest first. */
  readonly #holding: { readonly session: RawClient; readonly held: Promise<void> }[] = [];
  #turns = 0;

  private constructor(begin: string) {
    this.#begin = begin;
  }

  static async connect(url: string, begin: string): Promise<Ring> {
    const ring = new Ring(begin);
    for (let i = 0; i < POOL_SIZE; i++) {
      const session = await RawClient.connect(url);
      await session.query(
        `SET application_name = 'neighbour ${i}'; SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German';
         SET search_path = pg_catalog; SET bytea_output = 'escape'; SET extra_float_digits = 0; SET work_mem = '${100 + i}kB'`,
      );
      await session.ask(parse(`SELECT 'of neighbour ${i}'::text AS wrong`, 's'), sync);
      ring.#idle.push(session);
    }
    return ring;
  }

  async turn(free: number): Promise<void> {
    const taking: Promise<unknown>[] = [];
    for (let session = this.#idle.shift(); session !== undefined; session = this.#idle.shift()) {
      const held = this.#hold(session);
      taking.push(held);
      this.#holding.push({ session, held });
      await Promise.race([held, sleep(WAITS_MS)]);
    }
    for (let i = 0; i < free; i++) {
      const oldest = this.#holding.shift();
      if (oldest === undefined) break;
      const { session, held } = oldest;
      await held;
      await session.query('COMMIT');
      this.#idle.push(session);
    }
    await Promise.all(taking);
  }

  close(): void {
    for (const session of [...this.#idle, ...this.#holding.map((h) => h.session)]) session.socket.destroy();
  }

  /** Leaves an unnamed statement and, every other time, a failed Parse. */
  async #hold(session: RawClient): Promise<void> {
    await session.query(this.#begin);
    await session.ask(
      parse(`SELECT 'unnamed of a neighbour'::text AS wrong`),
      bind(),
      execute(),
      closePortal(''),
      sync,
    );
    if (this.#turns++ % 2 === 0) return;
    await session.ask(bind('s', { portal: 'p' }), closePortal('p'), sync);
    await session.query('SAVEPOINT a');
    await session.ask(parse('SELECT nonsense of a neighbour'), sync);
    await session.query('ROLLBACK TO a');
  }
}
