import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseChange } from '../../../src/replication/row-change.ts';
import { textDecoding } from '../../../src/replication/text-decoding.ts';

describe('a change of a row as test_decoding prints it', () => {
  it('reads an insert: numbers, texts, NULL, booleans, bits, arrays and bytea', () => {
    const change = parseChange(
      `table public.t: INSERT: id[integer]:-7 name[character varying]:'it''s: x[y]:1' nothing[text]:null word[text]:'null' yes[boolean]:true no[boolean]:false ` +
        `few[bit varying]:B'101' many[integer[]]:'{1,NULL,3}' raw[bytea]:'\\xdeadbeef' price[numeric]:NaN empty[text]:''`,
    );
    assert.deepEqual(change, {
      op: 'insert',
      schema: 'public',
      table: 't',
      new: {
        ...{ id: '-7', name: "it's: x[y]:1", nothing: null, word: 'null', yes: 't', no: 'f' },
        ...{ few: '101', many: '{1,NULL,3}', raw: '\\xdeadbeef', price: 'NaN', empty: '' },
      },
    });
  });

  it('reads quoted names of schemas, tables, columns and types', () => {
    const change = parseChange(
      `table "My ""Schema".".t:": INSERT: "a b"[public."odd]type"]:'1' "x""y["[integer]:2 "select"[text]:'z'`,
    );
    assert.deepEqual(change, {
      op: 'insert',
      schema: 'My "Schema',
      table: '.t:',
      new: { 'a b': '1', 'x"y[': '2', select: 'z' },
    });
  });

  it('reads an update with and without an old key, and leaves large values out that were not touched', () => {
    const plain = parseChange(
      `table public.t: UPDATE: id[integer]:1 big[text]:unchanged-toast-datum b[text]:' old-key:'`,
    );
    assert.deepEqual(plain, {
      ...{ op: 'update', schema: 'public', table: 't', old: null },
      ...{ new: { id: '1', b: ' old-key:' }, unchanged: ['big'] },
    });
    const moved = parseChange(`table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 b[text]:null`);
    assert.deepEqual(moved, {
      ...{ op: 'update', schema: 'public', table: 't', old: { id: '1' } },
      new: { id: '2', b: null },
    });
    const text = parseChange(
      `table public.t: UPDATE: old-key: a[text]:' new-tuple: x[text]:''1''' new-tuple: a[text]:'b'`,
    );
    assert.deepEqual(text.op === 'update' && [text.old, text.new], [{ a: " new-tuple: x[text]:'1'" }, { a: 'b' }]);
  });

  it('reads a delete, also of a table that has no identity', () => {
    assert.deepEqual(parseChange('table public.t: DELETE: id[bigint]:5'), {
      ...{ op: 'delete', schema: 'public', table: 't', old: { id: '5' } },
    });
    assert.deepEqual(parseChange('table public.t: DELETE: (no-tuple-data)'), {
      ...{ op: 'delete', schema: 'public', table: 't', old: null },
    });
  });

  it('reads a truncation of several tables', () => {
    assert.deepEqual(parseChange('table public.a, public."b, c": TRUNCATE: restart_seqs cascade'), {
      op: 'truncate',
      tables: [
        { schema: 'public', table: 'a' },
        { schema: 'public', table: 'b, c' },
      ],
      restartIdentity: true,
    });
    const plain = parseChange('table public.a: TRUNCATE: (no-flags)');
    assert.equal(plain.op === 'truncate' && plain.restartIdentity, false);
  });

  it('reads a column that has a name of the language', () => {
    const change = parseChange(`table public.t: INSERT: __proto__[text]:'x' constructor[text]:'y'`);
    assert.ok(change.op === 'insert');
    assert.deepEqual(Object.entries(change.new), [
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
  });

  it('refuses what is of no such form', () => {
    const wrong = [
      `table public.t: INSERT: id[integer]`,
      `table public.t: INSERT: id[text]:'open`,
      'table public.t: MERGE: id[integer]:1',
      'table t: INSERT: id[integer]:1',
      'no colon',
    ];
    for (const text of wrong) assert.throws(() => parseChange(text), SyntaxError, text);
  });
});

describe('encodings of a database', () => {
  it('are read exactly or not at all', () => {
    assert.equal(textDecoding('UTF8')?.(Buffer.from('é€')), 'é€');
    assert.equal(textDecoding('LATIN1')?.(Buffer.from([0xe9, 0x80])), 'é\u0080');
    assert.throws(() => textDecoding('SQL_ASCII')?.(Buffer.from([0xe9])));
    assert.equal(textDecoding('MULE_INTERNAL'), null);
  });
});
