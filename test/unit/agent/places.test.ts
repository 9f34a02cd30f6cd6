import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { finishMove, moveIntoPlace, type Places, placesOf, requireMovable } from '../../../src/agent/places.ts';

describe('a clone moves into the place of the data directory', () => {
  let directory: string;
  let places: Places;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'places-'));
    places = placesOf(join(directory, 'main'));
    mkdirSync(places.beside);
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  function make(path: string, what: string): void {
    mkdirSync(path);
    writeFileSync(join(path, 'what'), what);
  }
  const content = () => readFileSync(join(places.data, 'what'), 'utf8');

  it('and what stood there is kept beside it', () => {
    make(places.data, 'old');
    make(places.fresh, 'new');
    writeFileSync(places.complete, '');
    moveIntoPlace(places);
    assert.equal(content(), 'new');
    assert.equal(readFileSync(join(places.old, 'what'), 'utf8'), 'old');
    assert.ok(!existsSync(places.complete) && !existsSync(places.fresh));
    assert.equal(finishMove(places), null);
  });

  it('killed between its two renames, it is finished by the next run', () => {
    make(places.old, 'old');
    make(places.fresh, 'new');
    writeFileSync(places.complete, '');
    assert.match(finishMove(places) ?? '', /finished clone/);
    assert.equal(content(), 'new');
    assert.equal(finishMove(places), null);
  });

  it('a clone that is not whole never takes the place', () => {
    make(places.old, 'old');
    make(places.fresh, 'half');
    assert.match(finishMove(places) ?? '', /old data directory back/);
    assert.equal(content(), 'old');
  });

  it('nothing is touched where there is nothing to finish', () => {
    make(places.data, 'old');
    make(places.fresh, 'half');
    assert.equal(finishMove(places), null);
    assert.equal(content(), 'old');
    rmSync(places.data, { recursive: true });
    rmSync(places.fresh, { recursive: true });
    assert.equal(finishMove(places), null);
  });

  it('refuses what cannot be renamed', () => {
    const real = join(directory, 'real');
    mkdirSync(real);
    symlinkSync(real, places.data);
    assert.throws(() => requireMovable(places.data), /mount point or a symbolic link/);
    assert.doesNotThrow(() => requireMovable(real));
  });
});
