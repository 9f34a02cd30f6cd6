import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { PROJECT } from '../support/project.ts';

/** A folder imports only from itself and from folders to its left; what crosses otherwise is drawn in app.ts. */
const ORDER = [
  'core',
  'wire',
  'sql',
  'config',
  'transport',
  'cluster',
  'store',
  'backend',
  'monitor',
  'replication',
  'routing',
  'frontend',
  'plane',
  'failover',
  'api',
  'console',
  'workers',
  'embedded',
  'agent',
  'cli',
];

const SOURCE = join(PROJECT, 'src');

type Import = { readonly file: string; readonly folder: string; readonly target: string };

function imports(): Import[] {
  const files = (readdirSync(SOURCE, { recursive: true }) as string[]).filter((name) => name.endsWith('.ts'));
  return files.flatMap((file) => {
    const text = readFileSync(join(SOURCE, file), 'utf8');
    const folder = file.includes('/') ? (file.split('/')[0] as string) : '';
    return [...text.matchAll(/(?:from|import\(|import)\s*'(\.[^']+)'/g)].map((match) => ({
      file,
      folder,
      target: join(file, '..', match[1] as string),
    }));
  });
}

const folderOf = (path: string) => (path.includes('/') ? (path.split('/')[0] as string) : '');

describe('layers', () => {
  const all = imports();

  it('finds the sources', () => {
    assert.ok(all.length > 50);
  });

  it('every folder of src has its place in the order', () => {
    const folders = readdirSync(SOURCE, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const unknown = folders.map((entry) => entry.name).filter((name) => !ORDER.includes(name));
    assert.deepEqual(unknown, []);
  });

  it('a folder imports only from itself and from folders to its left', () => {
    const wrong = all
      .filter(({ folder, target }) => folder !== '' && !target.startsWith('..'))
      .filter(
        ({ folder, target }) => ORDER.indexOf(folderOf(target)) > ORDER.indexOf(folder) || folderOf(target) === '',
      )
      .map(({ file, target }) => `${file} imports ${target}`);
    assert.deepEqual(wrong, []);
  });

  it('only main.ts and app.ts stand beside the folders, and nothing imports main.ts', () => {
    const beside = readdirSync(SOURCE).filter((name) => name.endsWith('.ts'));
    assert.deepEqual(
      beside.filter((name) => name !== 'main.ts' && name !== 'app.ts'),
      [],
    );
    assert.deepEqual(
      all.filter(({ target }) => target === 'main.ts').map(({ file }) => file),
      [],
    );
  });

  it('no source file has more than 400 lines', () => {
    const files = (readdirSync(SOURCE, { recursive: true }) as string[]).filter((name) => name.endsWith('.ts'));
    const long = files.filter((name) => readFileSync(join(SOURCE, name), 'utf8').split('\n').length > 401);
    assert.deepEqual(long, []);
  });
});
