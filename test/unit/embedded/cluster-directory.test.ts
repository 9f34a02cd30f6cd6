import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FairleadError } from '../../../src/core/errors.ts';
import { makeClusterDirectory, removeAbandonedClusters } from '../../../src/embedded/cluster-directory.ts';

describe('cluster directories', () => {
  let temporary: string;
  beforeEach(() => {
    temporary = mkdtempSync(join(tmpdir(), 'cluster-directory-'));
  });
  afterEach(() => rmSync(temporary, { recursive: true, force: true }));

  /** As if the owner of that directory had died. */
  function orphan(scratch: string): void {
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    const file = join(scratch, 'owner.json');
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), pid: dead, startTime: '1' }));
  }

  it('leaves nothing when removed', () => {
    const directory = makeClusterDirectory(null, temporary);
    mkdirSync(join(directory.data, 'pg1'));
    directory.remove();
    assert.deepEqual(readdirSync(temporary), []);
  });

  it('removes what a dead owner left and spares the living', () => {
    const living = makeClusterDirectory(null, temporary);
    const dead = makeClusterDirectory(null, temporary);
    orphan(dead.scratch);
    assert.deepEqual(removeAbandonedClusters(temporary), [dead.data]);
    assert.ok(existsSync(living.data));
    assert.ok(!existsSync(dead.scratch));
  });

  it('a pid that was given to another process is not the owner', () => {
    const directory = makeClusterDirectory(null, temporary);
    const file = join(directory.scratch, 'owner.json');
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), startTime: '1' }));
    assert.deepEqual(removeAbandonedClusters(temporary), [directory.data]);
  });

  it('touches no directory without an owner file', () => {
    mkdirSync(join(temporary, 'fairlead-mine'));
    assert.deepEqual(removeAbandonedClusters(temporary), []);
    assert.ok(existsSync(join(temporary, 'fairlead-mine')));
  });

  it('uses a directory of the user, and leaves it when it was there before', () => {
    const data = join(temporary, 'mine');
    mkdirSync(data);
    const directory = makeClusterDirectory(data, temporary);
    mkdirSync(join(directory.data, 'pg1'));
    writeFileSync(join(directory.data, 'pg1.log'), '');
    writeFileSync(join(directory.data, 'notes'), 'of the user');
    directory.remove();
    assert.deepEqual(readdirSync(data), ['notes']);
  });

  it('refuses a directory that holds something', () => {
    const data = join(temporary, 'full');
    mkdirSync(data);
    writeFileSync(join(data, 'x'), '');
    assert.throws(
      () => makeClusterDirectory(data, temporary),
      (error: unknown) => error instanceof FairleadError && error.code === 'bad_arguments',
    );
    assert.deepEqual(readdirSync(temporary), ['full']);
  });
});
