import { message } from '../../src/wire/writer.ts';
import type { Conversation, Step } from '../support/differential.ts';
import {
  bind,
  copyData,
  copyDone,
  copyFail,
  describePortal,
  execute,
  flush,
  parse,
  q,
  sync,
  terminate,
} from '../support/raw-client.ts';
import { send } from './script.ts';

const COUNT = q('SELECT count(*) FROM log');
const IN = 'COPY log (line) FROM STDIN';
const OUT = 'COPY (SELECT id, name FROM items WHERE id < 4 ORDER BY id) TO STDOUT';

function talk(name: string, ...steps: readonly Step[]): Conversation {
  return { name, steps };
}

function extended(text: string): Buffer[] {
  return [parse(text), bind(), describePortal(), execute()];
}

function int32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeInt32BE(value);
  return out;
}

function int64(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigInt64BE(BigInt(value));
  return out;
}

/** A FunctionCall with binary arguments and a binary result, or text ones. */
function functionCall(oid: number, values: readonly (Buffer | null)[], format = 1): Buffer {
  const args = values.flatMap((value) => (value === null ? [int32(-1)] : [int32(value.length), value]));
  return message(
    0x46,
    Buffer.concat([int32(oid), Buffer.from([0, 1, 0, format, 0, values.length]), ...args, Buffer.from([0, format])]),
  );
}

const INT4PL = 177;
const VERSION = 89;
const SET_CONFIG = 2078;
const SETSEED = 1599;
const ADVISORY_LOCK = 2880;
const ADVISORY_UNLOCK = 2884;
const LO_CREATE = 715;
const LO_OPEN = 952;
const LO_CLOSE = 953;
const LO_READ = 954;
const LO_WRITE = 955;
const LO_UNLINK = 964;

const COPY: readonly Conversation[] = [
  talk(
    'out',
    send([q(OUT)]),
    send([q('COPY items TO STDOUT (FORMAT csv, HEADER)')]),
    send([q('COPY (SELECT 1::int2) TO STDOUT (FORMAT binary)')]),
    send([q('COPY (SELECT WHERE false) TO STDOUT')]),
  ),
  talk(
    'out in the extended protocol',
    send([...extended(OUT), sync]),
    send([parse(OUT, 's'), bind('s'), execute(), bind('s'), execute(1), sync]),
    send([...extended(OUT), ...extended('SELECT 1'), sync]),
  ),
  talk(
    'out with errors',
    send([q('COPY nowhere TO STDOUT')]),
    send([q('COPY (SELECT 1/(3 - i) FROM generate_series(1, 5) i) TO STDOUT')]),
    send([...extended('COPY (SELECT 1/(3 - i) FROM generate_series(1, 5) i) TO STDOUT'), sync]),
    send([q('BEGIN')]),
    send([q('COPY (SELECT 1/0) TO STDOUT')]),
    send([q(OUT)]),
    send([q('ROLLBACK')]),
  ),
  talk(
    'out among others',
    send([q(`SELECT 1; ${OUT}; SELECT 2`)]),
    send([q(`${OUT}; ${OUT}`)]),
    send([q(`${OUT}; SELECT 1/0`)]),
  ),
  talk('in', send([q(IN)], 'G'), send([copyData('a\nb\n'), copyDone], 1), send([COUNT])),
  talk('in without waiting', send([q(IN), copyData('a\n'), copyData('b\n'), copyDone, COUNT], 2)),
  talk(
    'in with nothing',
    send([q(IN), copyDone], 1),
    send([q(IN), copyData(''), copyDone], 1),
    send([q(IN), copyData('\\.\n'), copyDone], 1),
    send([COUNT]),
  ),
  talk(
    'in line by line',
    send([q(IN)], 'G'),
    send([copyData('a')], 0),
    send([copyData('\nb\nc')], 0),
    send([copyData('\n'), copyDone], 1),
    send([q('SELECT line FROM log ORDER BY id')]),
  ),
  talk(
    'in that the client gives up',
    send([q(IN)], 'G'),
    send([copyData('a\n'), copyFail('no more')], 1),
    send([COUNT]),
    send([q(IN), copyFail('')], 1),
  ),
  talk(
    'in that the server refuses',
    send([q('COPY nowhere FROM STDIN')]),
    send([q('COPY log FROM STDIN')], 'G'),
    send([copyData('x\ty\n'), copyDone], 1),
    send([COUNT]),
  ),
  talk(
    'in that the server ends early',
    send([q('COPY items (id) FROM STDIN')], 'G'),
    send([copyData('x\n')], 0),
    send([copyData('5\n')], 0),
    send([copyDone], 1),
    send([q('SELECT 1')]),
  ),
  talk(
    'in that breaks a constraint',
    send([q('COPY items (id, name) FROM STDIN')], 'G'),
    send([copyData('1\tx\n'), copyDone], 1),
    send([COUNT]),
  ),
  talk(
    'in within a transaction',
    send([q('BEGIN')]),
    send([q(IN)], 'G'),
    send([copyData('a\n'), copyDone], 1),
    send([COUNT]),
    send([q(IN)], 'G'),
    send([copyFail('x')], 1),
    send([COUNT]),
    send([q('ROLLBACK')]),
    send([COUNT]),
  ),
  talk(
    'in and other messages',
    send([q(IN)], 'G'),
    send([flush, sync, copyData('a\n'), flush, sync, copyDone], 1),
    send([COUNT]),
  ),
  talk('in and a query meanwhile', send([q(IN)], 'G'), send([copyData('a\n'), q('SELECT 1')], 1), send([COUNT])),
  talk(
    'in and a Parse meanwhile',
    send([q(IN)], 'G'),
    send([copyData('a\n'), parse('SELECT 1')], 1),
    send([sync], 1),
    send([COUNT]),
  ),
  talk('in and the end of the client', send([q(IN)], 'G'), send([copyData('a\n'), terminate], 'end')),
  talk(
    'in in the extended protocol',
    send([...extended(IN), sync], 'G'),
    send([copyData('a\n'), copyDone, sync], 1),
    send([COUNT]),
  ),
  talk(
    'in in the extended protocol, Sync later',
    send([...extended(IN), flush], 'G'),
    send([copyData('a\n'), copyDone, sync], 1),
    send([COUNT]),
  ),
  talk(
    'in in the extended protocol, all at once',
    send([...extended(IN), copyData('a\n'), copyDone, sync], 1),
    send([COUNT]),
    send([...extended(IN), sync, copyData('b\n'), copyDone, sync], 1),
    send([COUNT]),
  ),
  talk(
    'in in the extended protocol and given up',
    send([...extended(IN), sync], 'G'),
    send([copyData('a\n'), copyFail('no'), sync], 1),
    send([COUNT]),
  ),
  talk(
    'in in the extended protocol and refused',
    send([...extended('COPY nowhere FROM STDIN'), sync]),
    send([...extended('COPY items (id) FROM STDIN'), sync], 'G'),
    send([copyData('x\n'), copyDone, sync], 1),
    send([COUNT]),
  ),
  talk(
    'in among others',
    send([...extended("INSERT INTO log (line) VALUES ('z')"), ...extended(IN), flush], 'G'),
    send([copyData('a\n'), copyDone, ...extended('SELECT count(*) FROM log'), sync], 1),
    send([COUNT]),
  ),
  talk(
    'in within one text',
    send([q(`SELECT 1; ${IN}; SELECT count(*) FROM log`)], 'G'),
    send([copyData('a\n'), copyDone], 1),
    send([q(`${IN}; ${IN}`)], 'G'),
    send([copyData('b\n'), copyDone], 'G'),
    send([copyData('c\n'), copyDone], 1),
    send([COUNT]),
  ),
  talk(
    'in binary',
    send([q('COPY items (id, name) FROM STDIN (FORMAT binary)')], 'G'),
    send(
      [
        copyData(Buffer.from('5047434f50590aff0d0a00000000000000000000020000000400000300000000036e6577ffff', 'hex')),
        copyDone,
      ],
      1,
    ),
    send([q('SELECT id, name FROM items WHERE id > 20')]),
  ),
  talk('data without COPY', send([copyData('a\n'), copyDone, q('SELECT 1')], 1), send([copyFail('x'), sync], 1)),
  talk(
    'in with a wrong encoding',
    send([q(IN)], 'G'),
    send([copyData(Buffer.from([0xff, 0x0a])), copyDone], 1),
    send([COUNT]),
  ),
];

const FUNCTIONS: readonly Conversation[] = [
  talk(
    'a function call',
    send([functionCall(INT4PL, [int32(40), int32(2)])]),
    send([functionCall(INT4PL, [Buffer.from('40'), Buffer.from('2')], 0)]),
    send([functionCall(INT4PL, [null, int32(2)])]),
  ),
  talk(
    'function calls that fail',
    send([functionCall(999999, [])]),
    send([functionCall(INT4PL, [int32(2147483647), int32(2)])]),
    send([functionCall(INT4PL, [int32(1)])]),
    send([functionCall(INT4PL, [Buffer.from([1]), int32(1)])]),
    send([q('SELECT 1')]),
  ),
  talk(
    'function calls that set',
    send([functionCall(SET_CONFIG, [Buffer.from('TimeZone'), Buffer.from('Asia/Tokyo'), Buffer.from([0])])]),
    send([q('SHOW TimeZone')]),
    send([functionCall(SET_CONFIG, [Buffer.from('my.own'), Buffer.from('a'), Buffer.from([0])])]),
    send([q("SELECT current_setting('my.own')")]),
    send([q('BEGIN')]),
    send([functionCall(SET_CONFIG, [Buffer.from('work_mem'), Buffer.from('123kB'), Buffer.from([0])])]),
    send([functionCall(SET_CONFIG, [Buffer.from('DateStyle'), Buffer.from('German'), Buffer.from([1])])]),
    send([q('SHOW work_mem; SHOW DateStyle')]),
    send([q('ROLLBACK')]),
    send([q('SHOW work_mem; SHOW DateStyle')]),
  ),
  talk(
    'function calls that lock',
    send([functionCall(ADVISORY_LOCK, [int64(4711)])]),
    send([q('SELECT pg_advisory_unlock(4711)')]),
    send([functionCall(ADVISORY_LOCK, [int64(4711)])]),
    send([q('SELECT pg_try_advisory_lock(4711)')], 1, 'b'),
    send([functionCall(ADVISORY_UNLOCK, [int64(4711)])]),
    send([q('SELECT pg_try_advisory_lock(4711)')], 1, 'b'),
  ),
  talk(
    'function calls with a seed',
    send([functionCall(SETSEED, [Buffer.from([0x3f, 0xe0, 0, 0, 0, 0, 0, 0])])]),
    send([q('SELECT random()')]),
    send([...extended('SELECT random()'), sync]),
  ),
  talk(
    'large objects',
    send([q('BEGIN')]),
    send([functionCall(LO_CREATE, [int32(4711)])]),
    send([functionCall(LO_OPEN, [int32(4711), int32(0x60000)])]),
    send([functionCall(LO_WRITE, [int32(0), Buffer.from('a large object')])]),
    send([functionCall(LO_CLOSE, [int32(0)])]),
    send([q('COMMIT')]),
    send([q('SELECT lo_get(4711)')]),
    send([q('BEGIN READ ONLY')]),
    send([functionCall(LO_OPEN, [int32(4711), int32(0x40000)])]),
    send([functionCall(LO_READ, [int32(0), int32(100)])]),
    send([q('COMMIT')]),
    send([functionCall(LO_UNLINK, [int32(4711)])]),
  ),
  talk(
    'function calls in a transaction',
    send([q('BEGIN')]),
    send([functionCall(INT4PL, [int32(40), int32(2)])]),
    send([functionCall(999999, [])]),
    send([functionCall(INT4PL, [int32(40), int32(2)])]),
    send([q('ROLLBACK')]),
  ),
  talk(
    'a function call in the place of Sync',
    send([...extended("INSERT INTO log (line) VALUES ('a')"), functionCall(INT4PL, [int32(1), int32(1)])], 1),
    send([COUNT]),
    send([...extended('SELECT 1/0'), functionCall(INT4PL, [int32(1), int32(1)])], 'E'),
    send([sync], 1),
  ),
  talk('function calls and queries', send([functionCall(VERSION, [], 0), q('SELECT 1')], 2)),
];

const VIOLATIONS: readonly Conversation[] = [
  talk('a query without its end', send([message(0x51, Buffer.from('SELECT 1'))], 'E')),
  talk(
    'a query with more behind its end',
    send([message(0x51, Buffer.from('SELECT 1\0x\0'))], 1),
    send([q('SELECT 2')]),
  ),
  talk('bytes that are no text', send([message(0x51, Buffer.from([0x53, 0xff, 0xfe, 0]))], 1), send([q('SELECT 1')])),
  talk('Describe of neither', send([message(0x44, Buffer.from('X\0')), sync], 1), send([q('SELECT 1')])),
  talk('Close of neither', send([message(0x43, Buffer.from('X\0')), sync], 1), send([q('SELECT 1')])),
  talk('an Execute that is too short', send([message(0x45, Buffer.from('\0')), sync], 'EZ')),
  talk('a Sync that is too long', send([message(0x53, Buffer.from('x'))], 'EZ')),
  talk(
    'a Bind with a wrong count',
    send([parse('SELECT $1::int'), message(0x42, Buffer.from('\0\0\0\0\0\x01', 'latin1')), sync], 'EZ'),
  ),
  talk(
    'formats that do not exist',
    send([parse('SELECT 1'), message(0x42, Buffer.from([0, 0, 0, 0, 0, 0, 0, 1, 0, 7])), execute(), sync], 1),
    send([q('SELECT 1')]),
  ),
  talk(
    'result formats of another count',
    send(
      [parse('SELECT 1, 2'), message(0x42, Buffer.from([0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0])), execute(), sync],
      1,
    ),
  ),
];

const ENDS: readonly Conversation[] = [
  talk(
    'a server process that is terminated',
    send([q('BEGIN')]),
    send([q("SELECT 'marked for its end'")]),
    {
      kind: 'behind',
      text: "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%marked for its end%' AND pid <> pg_backend_pid()",
    },
    send([q('SELECT 1')], 'E'),
  ),
  talk('a server process that ends itself', send([q('SELECT pg_terminate_backend(pg_backend_pid())')], 'E')),
  talk(
    'a server process that ends itself in a transaction',
    send([q('BEGIN')]),
    send([q('SELECT pg_terminate_backend(pg_backend_pid())')], 'E'),
  ),
  talk(
    'a statement that is cancelled',
    send([q('SELECT pg_sleep(20)')], 0),
    {
      kind: 'behind',
      text: "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(20)' AND wait_event = 'PgSleep'",
    },
    { kind: 'cancel', session: 'a' },
    send([], 1),
    send([q('SELECT 1')]),
  ),
  talk(
    'a cancel in a transaction',
    send([q("BEGIN; INSERT INTO log (line) VALUES ('a')")]),
    send([parse('SELECT pg_sleep(22)'), bind(), execute(), sync], 0),
    {
      kind: 'behind',
      text: "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(22)' AND wait_event = 'PgSleep'",
    },
    { kind: 'cancel', session: 'a' },
    send([], 1),
    send([q('SELECT 1')]),
    send([q('ROLLBACK')]),
  ),
  talk('a cancel of nothing', send([q('SELECT 1')]), { kind: 'cancel', session: 'a' }, send([q('SELECT 2')])),
  talk(
    'a timeout',
    // long enough for what is to come before
    send([q('SET statement_timeout = 1500')]),
    send([...extended('SELECT pg_sleep(9)'), sync]),
    send([q('BEGIN; SELECT 1; SELECT pg_sleep(9)')]),
    send([q('ROLLBACK')]),
  ),
  talk(
    'a lock that comes too late',
    send([q('BEGIN; LOCK TABLE log')]),
    send([q("SET lock_timeout = 30; INSERT INTO log (line) VALUES ('b')")], 1, 'b'),
    send([q('COMMIT')]),
    send([COUNT], 1, 'b'),
  ),
  talk(
    'a deadlock',
    send([q("BEGIN; UPDATE items SET name = 'a' WHERE id = 1")]),
    send([q("SET deadlock_timeout = '10s'; BEGIN; UPDATE items SET name = 'b' WHERE id = 2")], 1, 'b'),
    send([q("UPDATE items SET name = 'b' WHERE id = 1")], 0, 'b'),
    { kind: 'behind', text: 'SELECT 1 FROM pg_locks WHERE NOT granted' },
    send([q("SET LOCAL deadlock_timeout = '10ms'; UPDATE items SET name = 'a' WHERE id = 2")], 1),
    send([], 1, 'b'),
    send([q('ROLLBACK')]),
    send([q('ROLLBACK')], 1, 'b'),
  ),
  talk(
    'a client that leaves in a transaction',
    send([q("BEGIN; INSERT INTO items VALUES (700, 'x')")], 1, 'b'),
    { kind: 'vanish', session: 'b' },
    { kind: 'behind', text: "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_locks WHERE relation = 'items'::regclass)" },
    send([q('SELECT count(*) FROM items /* fairlead: primary */')]),
  ),
  talk(
    'notifications from another session',
    send([q('LISTEN news')]),
    send([q("NOTIFY news, 'one'")], 1, 'b'),
    send([], 'A'),
    send([q("BEGIN; NOTIFY news, 'two'; NOTIFY news, 'three'; COMMIT")], 1, 'b'),
    send([], 'A'),
    send([], 'A'),
    send([q('UNLISTEN *')]),
    send([q("NOTIFY news, 'four'")], 1, 'b'),
    send([q('SELECT 1')]),
  ),
  talk(
    'a notification in a transaction of the listener',
    send([q('LISTEN news')]),
    send([q('BEGIN')]),
    send([q("NOTIFY news, 'held back'")], 1, 'b'),
    send([q('SELECT 1')]),
    send([q('COMMIT')], 'A'),
    send([], 1),
  ),
];

export const EDGES: Readonly<Record<string, readonly Conversation[]>> = {
  COPY,
  'function calls': FUNCTIONS,
  violations: VIOLATIONS,
  ends: ENDS,
};
