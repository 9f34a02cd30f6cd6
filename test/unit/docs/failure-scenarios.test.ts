import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { PROJECT } from '../../support/project.ts';

describe('docs/failure-scenarios.md', () => {
  const rows = readFileSync(join(PROJECT, 'docs', 'failure-scenarios.md'), 'utf8')
    .split('\n')
    .filter((line) => /^\| \d/.test(line))
    .map((line) => line.split(' | '));

  it('has every scenario once', () => {
    const numbers = rows.flatMap(([number]) => (number?.replace('|', '') ?? '').split(',').map(Number));
    assert.deepEqual(
      numbers.sort((a, b) => a - b),
      Array.from({ length: 48 }, (_, i) => i + 1),
    );
  });

  it('names tests that there are', () => {
    const named = rows.flatMap((cells) => [...(cells.at(-1) ?? '').matchAll(/`([a-z-]+)`/g)].map((match) => match[1]));
    assert.ok(named.length > 40);
    const missing = named.filter((name) => !existsSync(join(PROJECT, 'test', 'integration', `${name}.test.ts`)));
    assert.deepEqual(missing, []);
  });
});
