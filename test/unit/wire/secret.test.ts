import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatVerifier, makeVerifier, parseVerifier, passwordFits, type Verifier } from '../../../src/wire/scram.ts';
import { md5Answer, md5Hash, parseSecret, sameSecret, sameText } from '../../../src/wire/secret.ts';

describe('secrets', () => {
  it('tells the three forms apart', () => {
    const verifier = makeVerifier('pencil');
    assert.deepEqual(parseSecret(formatVerifier(verifier)), { kind: 'scram', verifier });
    const hash = '0123456789abcdef0123456789abcdef';
    assert.deepEqual(parseSecret(`md5${hash}`), { kind: 'md5', hash });
    for (const password of ['pencil', '', 'md5', `md5${hash}0`, 'SCRAM-SHA-256$x']) {
      assert.deepEqual(parseSecret(password), { kind: 'plain', password });
    }
  });

  it('makes the md5 hashes of PostgreSQL', () => {
    // SELECT 'md5' || md5('pencil' || 'anna')
    assert.equal(md5Hash('pencil', 'anna'), '984c3e9256f24b08e5b849d2265593b2');
    assert.match(md5Answer(md5Hash('pencil', 'anna'), Buffer.from([1, 2, 3, 4])), /^md5[0-9a-f]{32}$/);
  });

  it('compares texts', () => {
    assert.equal(sameText('a', 'a'), true);
    assert.equal(sameText('a', 'b'), false);
    assert.equal(sameText('a', 'aa'), false);
    assert.equal(sameText('', ''), true);
  });

  it('tells secrets that log in wherever the other does', () => {
    const verifier = makeVerifier('pencil');
    const key = (of: Verifier, byte: number) =>
      ({ kind: 'key', clientKey: Buffer.alloc(32, byte), verifier: of }) as const;
    const again = parseVerifier(formatVerifier(verifier)) as Verifier;
    assert.equal(sameSecret(key(verifier, 1), key(again, 1)), true);
    assert.equal(sameSecret(key(verifier, 1), key(again, 2)), false);
    assert.equal(sameSecret(key(verifier, 1), key(makeVerifier('pencil'), 1)), false);
    assert.equal(sameSecret({ kind: 'password', password: 'a' }, { kind: 'password', password: 'a' }), true);
    assert.equal(sameSecret({ kind: 'password', password: 'a' }, { kind: 'password', password: 'b' }), false);
    assert.equal(sameSecret({ kind: 'md5', hash: 'a' }, { kind: 'md5', hash: 'a' }), true);
    assert.equal(sameSecret({ kind: 'md5', hash: 'a' }, { kind: 'password', password: 'a' }), false);
  });

  it('checks a password with a verifier', async () => {
    assert.equal(await passwordFits('pencil', makeVerifier('pencil')), true);
    assert.equal(await passwordFits('pencils', makeVerifier('pencil')), false);
  });
});
