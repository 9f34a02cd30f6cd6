import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readStatements } from '../../../src/console/statement.ts';

describe('readStatements', () => {
  const cases: readonly (readonly [string, readonly (readonly string[])[]])[] = [
    ['', []],
    [' ;; \n', []],
    ['SHOW NODES', [['SHOW', 'NODES']]],
    ['SHOW\tNODES;PAUSE', [['SHOW', 'NODES'], ['PAUSE']]],
    ['DRAIN pg-2.a', [['DRAIN', 'pg-2.a']]],
    ['DRAIN "my; ""node"""', [['DRAIN', 'my; "node"']]],
    ["SET x='it''s'", [['SET', "x=it's"]]],
    ['SHOW -- ; comment\nLAG', [['SHOW', 'LAG']]],
    ['SHOW/* ; /* */ ; */LAG', [['SHOW', 'LAG']]],
    ['a/b-c', [['a/b-c']]],
    ['-- only a comment', []],
  ];
  for (const [text, expected] of cases) {
    it(JSON.stringify(text), () => assert.deepEqual(readStatements(text), expected));
  }

  it('refuses quotes and comments that do not end', () => {
    for (const text of ["SHOW 'x", 'SHOW "x', 'SHOW /* x', 'SHOW /* /* */', `'${"''".repeat(10_000)}`]) {
      assert.throws(() => readStatements(text), { code: 'unknown_command' });
    }
  });
});
