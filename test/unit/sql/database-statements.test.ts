import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Classifier } from '../../../src/sql/classifier.ts';

describe('databases that a statement needs to itself', () => {
  before(() => Classifier.load());

  it('are those whose connections PostgreSQL counts', () => {
    const classifier = new Classifier({ maxEntries: 64 });
    const needed = (text: string) => classifier.classifyText(text, null).vacates ?? null;
    assert.deepEqual(needed('DROP DATABASE "A b"'), ['A b']);
    assert.deepEqual(needed('drop database if exists a with (force)'), ['a']);
    assert.deepEqual(needed('ALTER DATABASE a RENAME TO b'), ['a']);
    assert.deepEqual(needed('ALTER DATABASE a SET TABLESPACE t'), ['a']);
    assert.deepEqual(needed('ALTER DATABASE a CONNECTION LIMIT 5'), null);
    assert.deepEqual(needed('CREATE DATABASE b'), ['template1']);
    assert.deepEqual(needed('CREATE DATABASE b TEMPLATE = a'), ['a']);
    assert.deepEqual(needed(`CREATE DATABASE b TEMPLATE 'a'`), ['a']);
    assert.deepEqual(needed(`CREATE DATABASE b TEMPLATE 'c'`), ['c']);
    assert.deepEqual(needed('ALTER TABLE a RENAME TO b'), null);
    assert.deepEqual(needed('SELECT 1'), null);
  });
});
