import type { Conversation, Step } from '../support/differential.ts';
import { type Random, randomFrom } from '../support/random.ts';
import {
  bind,
  closePortal,
  closeStatement,
  describePortal,
  describeStatement,
  execute,
  flush,
  parse,
  q,
  sync,
} from '../support/raw-client.ts';

const NAMES = ['', '', 'a', 'b'];
const PORTALS = ['', '', '', 'p'];

/** What is prepared; statements that take a parameter are among them. */
const TEXTS = [
  'SELECT 1 AS one',
  'SELECT $1::int AS given',
  'SELECT id, name FROM items WHERE id < 4 ORDER BY id',
  'SELECT i FROM generate_series(1, 5) i',
  'SELECT count(*) FROM log',
  'INSERT INTO log (line) VALUES (md5(clock_timestamp()::text)) RETURNING length(line)',
  'INSERT INTO items VALUES ($1::int, $1::text)',
  "UPDATE items SET name = 'changed' WHERE id = 1",
  'SELECT 1/0',
  'SELECT 10 / ($1::int - 5)',
  'SELECT nonsense',
  'SELEC',
  '',
  'BEGIN',
  'BEGIN',
  'COMMIT',
  'ROLLBACK',
  'SAVEPOINT x',
  'ROLLBACK TO x',
  "SET work_mem = '1MB'",
  "SET LOCAL work_mem = '2MB'",
  "SELECT set_config('work_mem', '3MB', false)",
  'SHOW work_mem',
  "SET application_name = 'random'",
  "SET TimeZone = 'Asia/Kolkata'",
  'RESET TimeZone',
  'SELECT at FROM items WHERE id = 2',
  "SELECT tells('x')",
  // what it does is not to depend on the rows it sees: compatibility.md, "beside an open portal that writes"
  'SELECT writes(NULL) > 0, count(*) >= 0 FROM log',
  'COPY (SELECT 1) TO STDOUT',
  'DECLARE c CURSOR FOR SELECT i FROM generate_series(1, 4) i',
  'FETCH 2 FROM c',
  'CLOSE c',
];

/** Texts of simple queries besides. */
const QUERIES = [
  'BEGIN; SELECT 1',
  'SELECT 1; SELECT 1/0; SELECT 2',
  "INSERT INTO log (line) VALUES ('several'); SELECT count(*) FROM log; ROLLBACK",
  'COMMIT; BEGIN',
  'DISCARD ALL',
  'RESET ALL',
  'DEALLOCATE ALL',
  'CREATE TEMP TABLE IF NOT EXISTS t (id int); INSERT INTO t VALUES (1)',
  'SELECT count(*) FROM t',
  'PREPARE w AS SELECT 5 AS five',
  'EXECUTE w',
  'SELECT pg_advisory_lock(9), pg_advisory_unlock(9)',
  'DECLARE h CURSOR WITH HOLD FOR SELECT 1 AS held',
  'FETCH h',
];

type Piece = { readonly bytes: Buffer; readonly words: string };

function one<T>(random: Random, of: readonly T[]): T {
  return of[random.int(of.length)] as T;
}

function extended(random: Random): Piece[] {
  const name = one(random, NAMES);
  const portal = one(random, PORTALS);
  const values = random.chance(0.4) ? [] : [one(random, ['5', '7', '300', 'x'])];
  const binaryResults = random.chance(0.2);
  const bound = {
    bytes: bind(name, { portal, values, binaryResults }),
    words: `Bind(${portal}<${name} [${values}]${binaryResults ? ' binary' : ''})`,
  };
  const rows = one(random, [0, 0, 0, 1, 2]);
  const executed = { bytes: execute(rows, portal), words: `Execute(${portal} ${rows})` };
  const text = one(random, TEXTS);
  const parsed = { bytes: parse(text, name), words: `Parse(${name}: ${text})` };
  const described = { bytes: describePortal(portal), words: `DescribeP(${portal})` };
  switch (random.int(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4: {
      // most of all what makes sense
      const fit = {
        bytes: bind(name, { portal, values: text.includes('$1') ? ['7'] : [], binaryResults }),
        words: `Bind(${portal}<${name})`,
      };
      return random.chance(0.5) ? [parsed, fit, described, executed] : [parsed, fit, executed];
    }
    case 5:
      return [parsed];
    case 6:
      return [bound, executed];
    // PostgreSQL 18 crashes on an unnamed portal that a simple query left in an aborted transaction
    case 7:
      return portal === '' ? [bound, described] : [described];
    case 8:
      return portal === '' ? [bound, executed] : [executed];
    case 9:
      return [{ bytes: describeStatement(name), words: `DescribeS(${name})` }];
    case 10:
      return [{ bytes: closeStatement(name), words: `CloseS(${name})` }];
    default:
      return [random.chance(0.5) ? { bytes: closePortal(portal), words: `CloseP(${portal})` } : bound];
  }
}

const SYNC: Piece = { bytes: sync, words: 'Sync' };
const FLUSH: Piece = { bytes: flush, words: 'Flush' };

/** Stretches of messages, each ended by Sync or a query by itself; three Syncs tell that all was answered. */
function turn(random: Random): Piece[] {
  const pieces: Piece[] = [];
  for (let stretch = random.int(3); stretch >= 0; stretch--) {
    if (random.chance(0.25)) {
      const text = one(random, random.chance(0.5) ? QUERIES : TEXTS);
      pieces.push({ bytes: q(text), words: `Query(${text})` });
      continue;
    }
    for (let i = random.int(4); i >= 0; i--) {
      pieces.push(...extended(random));
      if (random.chance(0.15)) pieces.push(FLUSH);
    }
    pieces.push(SYNC);
  }
  return pieces;
}

export function randomConversation(seed: number): Conversation {
  const random = randomFrom(seed);
  const steps: Step[] = [];
  const said: string[] = [];
  for (let i = 1 + random.int(5); i >= 0; i--) {
    const pieces = turn(random);
    said.push(pieces.map(({ words }) => words).join(' '));
    const bytes = pieces.map((piece) => piece.bytes);
    steps.push({ kind: 'send', session: 'a', bytes: [...bytes, sync, sync, sync], until: 'answered' });
  }
  return { name: `seed ${seed}:\n${said.join('\n')}`, steps };
}
