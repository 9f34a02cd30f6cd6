import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Classifier } from '../../../src/sql/classifier.ts';
import { LiteralKey } from '../../../src/sql/literal-key.ts';
import { VerdictCache } from '../../../src/sql/verdict-cache.ts';

describe('the cache of verdicts', () => {
  before(() => Classifier.load());

  const keyOf = (text: string): LiteralKey => {
    const key = new LiteralKey();
    const buffer = Buffer.from(text);
    assert.ok(key.build(buffer, 0, buffer.length));
    return key;
  };
  const verdictOf = (text: string) => new Classifier({ maxEntries: 2 }).classifyText(text, null);

  it('tells keys with the same hash apart', () => {
    const cache = new VerdictCache(100);
    const [a, b] = [keyOf('select a'), keyOf('delete from b')];
    b.hash = a.hash;
    cache.set(a, null, verdictOf('select a'));
    assert.equal(cache.get(b), undefined);
    cache.set(b, null, verdictOf('delete from b'));
    assert.equal(cache.get(a)?.verdict.class, 'read');
    assert.equal(cache.get(b)?.verdict.class, 'write');
    cache.set(a, null, verdictOf('delete from a'));
    assert.equal(cache.get(a)?.verdict.class, 'write');
    assert.equal(cache.get(b)?.verdict.class, 'write');
    assert.equal(cache.size, 2);
  });

  it('stays within its bound and keeps what is used', () => {
    const cache = new VerdictCache(100);
    const hot = keyOf('select hot');
    cache.set(hot, null, verdictOf('select hot'));
    for (let i = 0; i < 1000; i++) {
      cache.set(keyOf(`select a${i}`), null, verdictOf('select 1'));
      assert.ok(cache.size <= 100);
      if (i % 20 === 0) assert.notEqual(cache.get(hot), undefined);
    }
    assert.equal(cache.get(keyOf('select a1')), undefined);
    assert.notEqual(cache.get(keyOf('select a999')), undefined);
  });

  it('is not flooded by texts whose literals matter', () => {
    const classifier = new Classifier({ maxEntries: 100 });
    classifier.classifyText('select 1', null);
    for (let i = 0; i < 1000; i++) classifier.classifyText(`set app.user = 'u${i}'`, null);
    const misses = classifier.misses;
    classifier.classifyText('select 2', null);
    assert.equal(classifier.misses, misses);
    assert.ok(classifier.size <= 150);
  });
});
