import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { configSchema } from '../../../src/config/config.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { poolSettings } from '../../../src/config/pool-settings.ts';
import { shareOf } from '../../../src/config/share.ts';

const CONFIG = configSchema.parse({
  workers: 3,
  cluster: { user: 'u', nodes: { pg1: 'localhost:5432' } },
  pool: { size: 20, min_size: 2, reserve_size: 4, max_database_connections: 31, shared_connections: 4 },
  databases: { app: { size: 7, min_size: 1 } },
  users: { batch: { size: 4, max_connections: 5 } },
});

describe('shareOf', () => {
  it('gives parts that add up', () => {
    const shares = [0, 1, 2].map((index) => shareOf(CONFIG, index));
    const sumOf = (of: (share: (typeof shares)[number]) => number) => shares.reduce((sum, share) => sum + of(share), 0);
    const settings = (database: string, user: string) => (share: (typeof shares)[number]) =>
      poolSettings(share, database, user);
    const plain = settings('any', 'any');
    assert.equal(
      sumOf((s) => plain(s).size),
      20,
    );
    assert.equal(
      sumOf((s) => plain(s).minSize),
      2,
    );
    assert.equal(
      sumOf((s) => plain(s).reserveSize),
      4,
    );
    assert.equal(
      sumOf((s) => plain(s).maxDatabaseConnections),
      31,
    );
    assert.equal(
      sumOf((s) => plain(s).maxUserConnections),
      0,
      'no limit stays none',
    );
    assert.equal(
      sumOf((s) => settings('app', 'any')(s).size),
      7,
    );
    assert.equal(
      sumOf((s) => settings('app', 'any')(s).minSize),
      1,
    );
    assert.equal(
      sumOf((s) => settings('any', 'batch')(s).size),
      4,
    );
    assert.equal(
      sumOf((s) => settings('any', 'batch')(s).maxUserConnections),
      5,
    );
  });

  it('never turns a limit into none', () => {
    const small = { ...CONFIG, pool: { ...CONFIG.pool, size: 1, max_database_connections: 1 } };
    for (const index of [0, 1, 2]) {
      const { size, maxDatabaseConnections } = poolSettings(shareOf(small, index), 'any', 'any');
      assert.deepEqual([size, maxDatabaseConnections], [1, 1]);
    }
  });
});

describe('a limit that cannot be shared out', () => {
  it('is refused, with its key', () => {
    const environment = { FAIRLEAD_WORKERS: '3', FAIRLEAD_POOL_MAX_DATABASE_CONNECTIONS: '2' };
    const flags = { nodes: ['pg1=localhost:5432'], user: 'u' };
    assert.throws(
      () => loadConfig({ file: null, environment, flags }),
      /pool\.max_database_connections: 2 cannot be shared out among 3 workers/,
    );
  });
});
