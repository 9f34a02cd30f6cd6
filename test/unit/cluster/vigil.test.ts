import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Vigil } from '../../../src/cluster/vigil.ts';

describe('a process that stood still', () => {
  it('doubts what it knows until the primary has answered a question asked since', () => {
    const vigil = new Vigil();
    vigil.beat(100);
    assert.equal(vigil.sound(1000), true);
    vigil.beat(1000);
    assert.equal(vigil.sound(4000), false, 'noticed before the late beat');
    vigil.beat(4001);
    vigil.confirm(3990);
    assert.equal(vigil.sound(4002), false, 'an answer to a question from before proves nothing');
    vigil.confirm(4003);
    assert.equal(vigil.sound(4004), true);
  });

  it('is not watched before it serves', () => {
    assert.equal(new Vigil().sound(60_000), true);
  });
});
