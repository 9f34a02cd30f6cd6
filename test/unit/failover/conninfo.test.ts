import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatConninfo, parseConninfo, redirect } from '../../../src/failover/conninfo.ts';

describe('conninfo', () => {
  const cases: readonly (readonly [string, Record<string, string>])[] = [
    ['host=a port=5432', { host: 'a', port: '5432' }],
    [" host = 'a b'  password='it\\'s \\\\' ", { host: 'a b', password: "it's \\" }],
    ['password=a\\ b sslmode=require', { password: 'a b', sslmode: 'require' }],
    ["password=''", { password: '' }],
    ['', {}],
    [
      'postgres://u%40x:p%3A@h:5433/db?sslmode=require',
      { host: 'h', port: '5433', user: 'u@x', password: 'p:', dbname: 'db', sslmode: 'require' },
    ],
  ];
  for (const [text, expected] of cases) {
    it(`reads ${text || 'nothing'}`, () => assert.deepEqual(Object.fromEntries(parseConninfo(text)), expected));
  }

  it('refuses what is no connection string', () => {
    for (const text of ['host', '=a', 'host=a nonsense']) assert.throws(() => parseConninfo(text), RangeError);
  });

  it('writes what it reads', () => {
    const info = new Map([
      ['host', 'a'],
      ['password', `x' y\\z`],
      ['sslmode', 'require'],
      ['passfile', ''],
    ]);
    assert.deepEqual(parseConninfo(formatConninfo(info)), info);
  });

  it('turns to another server, keeping credentials, TLS and its own name', () => {
    const info = parseConninfo(
      `hostaddr=10.0.0.1 host=old port=1 user=rep password=s sslmode=require application_name=r1`,
    );
    const next = formatConninfo(redirect(info, 'new', 2, 'pg2'));
    assert.equal(next, 'host=new port=2 user=rep password=s sslmode=require application_name=r1');
    assert.match(formatConninfo(redirect(new Map([['user', 'rep']]), 'new', 2, 'pg2')), /application_name=pg2/);
  });
});
