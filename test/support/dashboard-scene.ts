/** A cluster in motion for looking at the dashboard: `node dashboard-scene.js [healthy|paused|failover] [port]`. */
import { wallMs } from '../../src/core/clock.ts';
import { lsn } from '../../src/core/lsn.ts';
import type { RouteReason } from '../../src/routing/decision.ts';
import { ApiFixture } from './api-fixture.ts';

export type Scene = 'healthy' | 'paused' | 'failover' | 'after';

/** Moves the fixture's model ten times a second until `stop`. */
export function play(fixture: ApiFixture, scene: Scene): { stop(): void } {
  let ticks = 0;
  let stuck = fixture.lsn;
  fixture.healthy();
  if (scene === 'after') afterFailover(fixture);
  const primary = scene === 'after' ? 'pg2' : 'pg1';
  const timeline = scene === 'after' ? 2 : 1;
  const move = () => {
    ticks++;
    const dead = scene === 'failover' && ticks > 20;
    if (!dead) for (let i = 0; i < 4; i++) fixture.commit(Math.round(600 + Math.random() * 3000), wallMs() - 4 + i);
    if (ticks === 20) stuck = fixture.lsn;
    for (const [i, node] of ['pg1', 'pg2', 'pg3'].entries()) {
      if (scene === 'after' && node === 'pg1') fixture.fail('pg1');
      else if (node === primary && dead) fixture.fail(node, 'connection refused (127.0.0.1:5432)');
      else if (node === primary) fixture.observe(node, 'primary', fixture.lsn, 'pg1', timeline);
      else {
        const behind = Math.random() < 0.3 ? BigInt(Math.floor(Math.random() * 900 * (i + 1))) : 0n;
        const replayed = scene === 'paused' && node === 'pg3' && ticks > 20 ? stuck : lsn(fixture.lsn - behind);
        fixture.observe(
          node,
          'replica',
          replayed,
          primary,
          timeline,
          scene === 'paused' && node === 'pg3' && ticks > 20,
        );
      }
    }
    if (scene === 'failover' && ticks === 21) {
      fixture.assign(null, 'electing', { reason: 'pg1 does not answer (connection refused); both replicas lost it' });
      fixture.sessions = { ...fixture.sessions, held: 31, active: 31, idle: 17 };
    }
    if (!dead) traffic(fixture, scene, primary);
  };
  move();
  const timer = setInterval(move, 100);
  return { stop: () => clearInterval(timer) };
}

function traffic(fixture: ApiFixture, scene: Scene, primary: string): void {
  const names = ['pg1', 'pg2', 'pg3'];
  const write = names.indexOf(primary);
  const replicas = [1, 2].filter((i) => i !== write && !(scene === 'paused' && i === 2));
  const latency = (median: number) => median * Math.exp((Math.random() + Math.random() + Math.random() - 1.5) * 1.3);
  const one = (node: number, kind: 'read' | 'write' | 'other', reason: RouteReason, median: number) =>
    fixture.traffic.record(node, kind, reason, latency(median));
  for (let i = 0; i < 110 + Math.random() * 20; i++)
    one(replicas[i % replicas.length] as number, 'read', 'fresh replica', 0.6);
  for (let i = 0; i < 9; i++) one(replicas[0] as number, 'read', 'caught up', 3);
  for (let i = 0; i < 5; i++) one(write, 'read', 'transaction', 0.7);
  for (let i = 0; i < (scene === 'paused' ? 16 : 2); i++) one(write, 'read', 'no fresh replica', 4);
  one(write, 'read', 'volatile function', 1);
  for (let i = 0; i < 32; i++) one(write, 'write', 'write', 1.9);
  for (let i = 0; i < 8; i++) one(write, 'other', 'transaction', 0.3);
}

function afterFailover(fixture: ApiFixture): void {
  const fence = { sinceEpoch: 4, reason: 'was primary until epoch 4; rejoin it with pg_rewind' };
  fixture.assign('pg2', 'steady', { epoch: 4, timeline: 2, fenced: new Map([['pg1', fence]]) });
  const at = wallMs();
  const lost = { lostBytes: 18_432, lostCommitCount: 3, forkLsn: '2/0', oldPrimaryLsn: '2/4800' };
  const past: [string, number, string, string, object][] = [
    [
      'failover',
      9 * 86_400,
      'pg3',
      'pg3 is the primary on timeline 2 after pg1; up to 18432 bytes of WAL were lost',
      lost,
    ],
    ['switchover', 2 * 86_400, 'pg1', 'pg1 is the primary on timeline 3 after pg3; nothing was lost', { lostBytes: 0 }],
    ['suspect', 66, 'pg1', 'pg1 does not answer: connection refused', {}],
    ['fencing', 63, 'pg1', 'pg1 has been silent for 3000 ms and its replicas lost it', {}],
    ['elected', 62.4, 'pg2', 'pg2 is 0 bytes behind the last position known of pg1', {}],
    ['failover', 62, 'pg2', 'pg2 is the primary on timeline 2 after pg1; nothing was lost', { lostBytes: 0 }],
    ['repointed', 61, 'pg3', 'all replicas follow pg2', {}],
    ['fenced', 60, 'pg1', 'pg1 gets no statement: it was primary until epoch 4', {}],
  ];
  for (const [i, [kind, ago, node, message, detail]] of past.entries()) {
    fixture.happen({ id: `e${i}`, kind, epoch: i < 2 ? i + 2 : 4, node, message, detail, atMs: at - ago * 1000 });
  }
}

if (process.argv[1] === import.meta.filename) {
  const [scene = 'healthy', port = '0'] = process.argv.slice(2);
  const fixture = new ApiFixture({ http: { host: '127.0.0.1', port: Number(port) } });
  process.stdout.write(`${await fixture.start()}\n`);
  play(fixture, scene as Scene);
}
