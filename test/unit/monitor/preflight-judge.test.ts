import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { configSchema, nodesOf } from '../../../src/config/config.ts';
import type { NodeFacts } from '../../../src/monitor/preflight-facts.ts';
import { judgeCluster, judgeNode } from '../../../src/monitor/preflight-judge.ts';

const INPUT = { cluster: { user: 'fl', nodes: { pg1: 'h:1', pg2: 'h:2' } } };
const config = configSchema.parse(INPUT);
const [pg1, pg2] = nodesOf(config) as [ReturnType<typeof nodesOf>[number], ReturnType<typeof nodesOf>[number]];
const PRIMARY: NodeFacts = {
  version: 160_000,
  version_text: '16.0',
  in_recovery: false,
  system_id: 's',
  wal_level: 'logical',
  max_wal_senders: 10,
  max_replication_slots: 10,
  used_slots: 1,
  password_encryption: 'scram-sha-256',
  wal_receiver_timeout_ms: 60_000,
  receiver_status: null,
  receiver_present: false,
  walsenders: 1,
  superuser: false,
  replication: true,
  reads_stats: true,
  reads_settings: true,
  may_promote: true,
  may_reload: true,
  may_signal: true,
  may_alter_system: true,
  schema_present: true,
  schema_usable: true,
  ddl_marked: true,
  decoding: 'works',
};
const REPLICA: NodeFacts = {
  ...PRIMARY,
  in_recovery: true,
  receiver_present: true,
  receiver_status: 'streaming',
  decoding: null,
};

describe('preflight', () => {
  it('has nothing to say about a cluster that is in order', () => {
    assert.deepEqual(judgeNode(pg1, PRIMARY, config), []);
    assert.deepEqual(judgeNode(pg2, REPLICA, config), []);
    const all = judgeCluster(
      [pg1, pg2],
      new Map([
        ['pg1', PRIMARY],
        ['pg2', REPLICA],
      ]),
      config,
    );
    assert.deepEqual(
      all.map((f) => f.level),
      ['ok'],
    );
  });

  it('asks for more where commits are to wait for followers', () => {
    const synchronous = configSchema.parse({ ...INPUT, replication: { mode: 'quorum' } });
    assert.match(judgeNode(pg1, PRIMARY, synchronous)[0]?.fix ?? '', /^upgrade to 16\.9$/);
    assert.deepEqual(judgeNode(pg1, { ...PRIMARY, version: 160_009 }, synchronous), []);
    const nodes = new Map([
      ['pg1', { ...PRIMARY, schema_present: false }],
      ['pg2', REPLICA],
    ]);
    const levels = (now: typeof config) => judgeCluster([pg1, pg2], nodes, now).map((f) => f.level);
    assert.ok(levels(synchronous).includes('error'));
    assert.ok(!levels(config).includes('error'));
  });

  const cases: [string, Partial<NodeFacts>, RegExp][] = [
    ['wal_level', { wal_level: 'replica' }, /wal_level = 'logical'/],
    ['full slots', { used_slots: 10 }, /max_replication_slots/],
    ['no REPLICATION', { replication: false }, /^ALTER ROLE "fl" REPLICATION$/],
    ['no pg_monitor', { reads_stats: false }, /^GRANT pg_monitor TO "fl"$/],
    ['no pg_promote', { may_promote: false }, /^GRANT EXECUTE ON FUNCTION pg_promote/],
    ['no ALTER SYSTEM', { may_alter_system: false }, /^GRANT ALTER SYSTEM ON PARAMETER primary_conninfo/],
    ['no ALTER SYSTEM before 15', { may_alter_system: false, version: 140_000 }, /^ALTER ROLE "fl" SUPERUSER$/],
    ['an old server', { version: 120_000 }, /upgrade/],
    ['no plugin', { decoding: 'missing' }, /postgresql-contrib/],
  ];
  for (const [what, change, fix] of cases) {
    it(`names the fix for ${what}`, () => {
      const findings = judgeNode(pg1, { ...PRIMARY, ...change }, config);
      assert.equal(findings.length, 1);
      assert.match(findings[0]?.fix ?? '', fix);
    });
  }

  it('sees two primaries, none, and nodes of another cluster', () => {
    const both = judgeCluster(
      [pg1, pg2],
      new Map([
        ['pg1', PRIMARY],
        ['pg2', PRIMARY],
      ]),
      config,
    );
    assert.ok(both.some((f) => f.level === 'error' && /both primaries/.test(f.message)));
    const none = judgeCluster(
      [pg1, pg2],
      new Map([
        ['pg1', REPLICA],
        ['pg2', REPLICA],
      ]),
      config,
    );
    assert.ok(none.some((f) => f.level === 'error' && /no node is a primary/.test(f.message)));
    const other = judgeCluster(
      [pg1, pg2],
      new Map([
        ['pg1', PRIMARY],
        ['pg2', { ...REPLICA, system_id: 'x' }],
      ]),
      config,
    );
    assert.ok(other.some((f) => f.level === 'error' && /different clusters/.test(f.message)));
  });
});
