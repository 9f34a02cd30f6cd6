import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { configKeys, environmentName, type Key } from '../../../src/config/keys.ts';
import { PROJECT } from '../../support/project.ts';

/** The row of `docs/configuration.md` for a key, as its declaration has it. */
function rowOf(key: Key): string {
  const name = key.path.join('.').replace('*', 'NAME');
  const variable = key.path.includes('*') ? '' : `\`${environmentName(key.path)}\``;
  const standard = key.defaultText === null ? '**required**' : `\`${key.defaultText}\``;
  return `| \`${name}\` | ${typeOf(key)} | ${standard} | ${key.description} | ${variable} |`;
}

function typeOf({ kind, allowed, defaultText }: Key): string {
  if (kind === 'enum') return allowed.map((word) => `\`${word}\``).join(', ');
  if (kind !== 'text' || defaultText === null) return kind;
  if (/^\d+(ms|s|min|h)$/.test(defaultText)) return 'time';
  if (/^\d+[MG]B$/.test(defaultText)) return 'size';
  return /:\d+$/.test(defaultText) ? 'address' : 'text';
}

describe('docs/configuration.md', () => {
  const text = readFileSync(join(PROJECT, 'docs', 'configuration.md'), 'utf8');
  const documented = text.split('\n').filter((line) => line.startsWith('| `'));

  it('has exactly the keys that there are, with their defaults and meanings', () => {
    assert.deepEqual(documented, configKeys().map(rowOf));
  });
});
