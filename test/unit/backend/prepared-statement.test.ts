import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { closeStatement, PreparedStatements, parseMessage } from '../../../src/backend/prepared-statement.ts';

const body = (text: string, ...oids: number[]) => {
  const tail = Buffer.alloc(2 + 4 * oids.length);
  tail.writeUInt16BE(oids.length, 0);
  for (const [i, oid] of oids.entries()) tail.writeUInt32BE(oid, 2 + 4 * i);
  return Buffer.concat([Buffer.from(`${text}\0`), tail]);
};

describe('PreparedStatements', () => {
  it('shares a statement by its text and its parameter types', () => {
    const all = new PreparedStatements();
    const one = all.intern(body('SELECT $1', 23));
    assert.equal(all.intern(body('SELECT $1', 23)), one);
    assert.notEqual(all.intern(body('SELECT $1', 25)), one);
    assert.notEqual(all.intern(body('SELECT $1')), one);
    assert.notEqual(all.intern(body('SELECT  $1', 23)).id, one.id);
  });

  it('keeps a copy: the buffer it was read from is used again', () => {
    const all = new PreparedStatements();
    const buffer = body('SELECT 1');
    const one = all.intern(buffer);
    buffer.fill(0x78);
    assert.equal(one.body.toString('latin1', 0, 8), 'SELECT 1');
    assert.equal(all.intern(body('SELECT 1')), one);
  });

  it('forgets the oldest beyond its limit, and never uses an id again', () => {
    const all = new PreparedStatements();
    const first = all.intern(body('SELECT 0'));
    for (let i = 1; i <= 20_000; i++) all.intern(body(`SELECT ${i}`));
    const again = all.intern(body('SELECT 0'));
    assert.notEqual(again.id, first.id);
    assert.notEqual(again.serverName, first.serverName);
  });

  it('builds the messages that servers get', () => {
    const one = new PreparedStatements().intern(body('SELECT 1'));
    assert.equal(one.parse.readInt32BE(1), one.parse.length - 1);
    assert.equal(one.parse.toString('latin1', 5), `${one.serverName}\0SELECT 1\0\0\0`);
    assert.equal(parseMessage('', one.body).toString('latin1', 5), '\0SELECT 1\0\0\0');
    assert.equal(closeStatement('a').toString('latin1'), 'C\0\0\0\x07Sa\0');
  });
});
