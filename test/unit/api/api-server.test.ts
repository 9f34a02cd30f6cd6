import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { FairleadError } from '../../../src/core/errors.ts';
import { lsn } from '../../../src/core/lsn.ts';
import { ApiFixture, failoverEvent } from '../../support/api-fixture.ts';
import { httpGet, httpPost, type Json } from '../../support/http.ts';
import { SYNCHRONY } from '../../support/synchrony.ts';

describe('ApiServer', () => {
  const fixture = new ApiFixture();
  let url = '';

  before(async () => {
    url = await fixture.start();
    fixture.healthy();
  });
  after(() => fixture.stop());

  it('shows the cluster', async () => {
    const { status, body } = await httpGet(`${url}/api/cluster`);
    assert.equal(status, 200);
    assert.equal(body.epoch, 3);
    assert.equal(body.primary, 'pg1');
    assert.equal(body.phase, 'steady');
    assert.deepEqual(body.replication.mode, 'streaming');
    assert.deepEqual(
      body.nodes.map((n: Json) => [n.name, n.role, n.state, n.replayLsn, n.receiver?.upstream ?? null]),
      [
        ['pg1', 'primary', 'up', '3/40000000', null],
        ['pg2', 'replica', 'up', '3/40000000', 'pg1'],
        ['pg3', 'replica', 'up', '3/40000000', 'pg1'],
      ],
    );
    assert.deepEqual(body.nodes[1].lag, { bytes: 0, ms: 0 });
  });

  it('shows lag in bytes and milliseconds, and null where it is not known', async () => {
    fixture.commit(1000, performance.timeOrigin + performance.now() - 250);
    fixture.observe('pg1', 'primary', fixture.lsn);
    fixture.observe('pg2', 'replica', lsn(fixture.lsn - 1000n));
    fixture.observe('pg3', 'replica', fixture.lsn);
    fixture.fail('pg3');
    const { body } = await httpGet(`${url}/api/lag`);
    const [pg1, pg2, pg3] = body.nodes;
    assert.deepEqual(pg1.lag, { bytes: 0, ms: 0 });
    assert.equal(pg2.lag.bytes, 1000);
    assert.ok(pg2.lag.ms >= 240 && pg2.lag.ms < 5000, String(pg2.lag.ms));
    assert.deepEqual(pg3.lag, { bytes: null, ms: null });
    fixture.healthy();
  });

  it('keeps history and asks the store for older samples', async () => {
    const atMs = Date.now() - 3_600_000;
    fixture.older.push({ node: 'pg2', atMs, lagBytes: 10, lagMs: 1 }, { node: 'pg3', atMs, lagBytes: 20, lagMs: 2 });
    const old = await httpGet(`${url}/api/lag/history?node=pg2&since=${new Date(atMs - 1000).toISOString()}`);
    assert.equal(old.status, 200);
    assert.deepEqual(old.body.samples[0], { at: atMs, node: 'pg2', ms: 1, bytes: 10 });
    assert.ok(old.body.samples.every((s: Json) => s.node === 'pg2'));
    assert.equal((await httpGet(`${url}/api/lag/history?node=nobody`)).status, 404);
    assert.equal((await httpGet(`${url}/api/lag/history?since=yesterday`)).status, 400);
  });

  it('lists events with what was lost', async () => {
    const detail = { lostBytes: 96, lostCommitCount: 2, forkLsn: '0/1', oldPrimaryLsn: '0/61', epoch: 2 };
    fixture.stored.push(failoverEvent({ id: 'earlier', atMs: 1000, epoch: 1, detail }));
    fixture.happen(failoverEvent({ id: 'live', epoch: 3 }));
    const { body } = await httpGet(`${url}/api/events`);
    assert.deepEqual(
      body.events.map((e: Json) => [e.id, e.epoch, e.lost.bytes]),
      [
        ['live', 3, 0],
        ['earlier', 2, 96],
      ],
    );
    assert.equal(body.events[1].at, '1970-01-01T00:00:01.000Z');
    assert.deepEqual(body.events[1].lost, { bytes: 96, commits: 2, unproven: 0, fromLsn: '0/1', toLsn: '0/61' });
  });

  it('counts traffic', async () => {
    fixture.traffic.record(1, 'read', 'fresh replica', 1);
    fixture.traffic.record(0, 'write', 'write', 2);
    const { body } = await httpGet(`${url}/api/traffic`);
    assert.equal(body.reads.total, 1);
    assert.equal(body.readsOnReplicasEver, 1);
    assert.equal(body.sessions.total, 48);
    assert.equal(body.pools.length, 3);
    assert.equal((await httpGet(`${url}/api/traffic/history`)).body.nodes.length, 3);
  });

  it('gives Prometheus its text', async () => {
    const { status, text, headers } = await httpGet(`${url}/metrics`);
    assert.equal(status, 200);
    assert.match(headers['content-type'] ?? '', /^text\/plain/);
    for (const line of [
      'fairlead_epoch 3',
      'fairlead_node_up{node="pg1"} 1',
      'fairlead_node_role{node="pg1",role="primary"} 1',
      'fairlead_node_lag_bytes{node="pg2"} 0',
      'fairlead_node_lag_seconds{node="pg2"} 0',
      'fairlead_statements_total{node="pg2",class="read",reason="fresh replica"} 1',
      'fairlead_statement_duration_seconds_count{class="write"} 1',
      'fairlead_statement_duration_seconds_bucket{class="read",le="+Inf"} 1',
      'fairlead_server_connections{node="pg1",database="app",user="app",state="active"} 3',
      'fairlead_failovers_total 1',
      'fairlead_sessions{state="active"} 9',
    ]) {
      assert.ok(text.split('\n').includes(line), `${line}\n${text}`);
    }
    assert.match(text, /^process_cpu_seconds_total /m);
  });

  it('tells where acknowledged commits are, if Fairlead sees to that', async () => {
    assert.equal((await httpGet(`${url}/api/cluster`)).body.synchronous, null);
    assert.doesNotMatch((await httpGet(`${url}/metrics`)).text, /^fairlead_sync_(copies|state)\{/m);
    fixture.cluster.synchrony.set(SYNCHRONY);
    const { synchronous, nodes } = (await httpGet(`${url}/api/cluster`)).body;
    assert.deepEqual(synchronous.confirmed, [{ copies: 1, nodes: ['pg2', 'pg3'] }]);
    assert.equal(synchronous.setting, 'ANY 1 ("pg2", "pg3")');
    assert.deepEqual(
      nodes.map((node: { sync: string | null }) => node.sync),
      [null, 'quorum', 'failing'],
    );
    const lines = (await httpGet(`${url}/metrics`)).text.split('\n');
    for (const line of [
      'fairlead_sync_copies{kind="configured"} 1',
      'fairlead_sync_copies{kind="guaranteed"} 1',
      'fairlead_sync_state{state="confirmed"} 1',
      'fairlead_node_sync{node="pg3",state="failing"} 1',
    ]) {
      assert.ok(lines.includes(line), line);
    }
    fixture.cluster.synchrony.set(null);
  });

  it('is ready only while a primary is assigned and answers', async () => {
    assert.equal((await httpGet(`${url}/healthz`)).status, 200);
    assert.equal((await httpGet(`${url}/readyz`)).status, 200);
    fixture.fail('pg1', 'no answer within 1000 ms');
    const down = await httpGet(`${url}/readyz`);
    assert.equal(down.status, 503);
    assert.equal(down.body.reason, 'no answer within 1000 ms');
    fixture.assign(null, 'electing');
    assert.equal((await httpGet(`${url}/readyz`)).status, 503);
    assert.equal((await httpGet(`${url}/api/cluster`)).body.holding.why, 'no primary');
    assert.equal((await httpGet(`${url}/healthz`)).status, 200);
    fixture.healthy();
    assert.equal((await httpGet(`${url}/api/cluster`)).body.holding, null);
  });

  it('does what operators ask', async () => {
    const moved = await httpPost(`${url}/api/switchover`, { to: 'pg2' });
    assert.equal(moved.status, 200, moved.text);
    assert.equal(moved.body.done, true);
    await httpPost(`${url}/api/switchover`);
    await httpPost(`${url}/api/failover`);
    await httpPost(`${url}/api/failover`, { allowDataLoss: true });
    assert.equal((await httpPost(`${url}/api/failover`, { force: true })).status, 400);
    assert.deepEqual(fixture.asked, ['switchover pg2', 'switchover', 'failover', 'failover allowing data loss']);

    assert.equal((await httpPost(`${url}/api/pause`)).body.paused, true);
    assert.equal(fixture.cluster.operator.value.paused, true);
    assert.equal((await httpPost(`${url}/api/resume`)).body.paused, false);
    assert.equal((await httpPost(`${url}/api/nodes/pg2/drain`)).body.state, 'draining');
    assert.deepEqual([...fixture.cluster.operator.value.drained], ['pg2']);
    assert.equal((await httpPost(`${url}/api/nodes/pg2/undrain`)).body.state, 'up');
  });

  it('says what a switchover would do; schedules one, shows it, and takes it back', async () => {
    const post = (body: object) => httpPost(`${url}/api/switchover`, body);
    fixture.asked.length = 0;
    const { plan } = (await post({ plan: true, to: 'pg2' })).body;
    assert.equal(plan.possible, true);
    assert.deepEqual(plan.steps.at(-1), { step: 'promote', text: 'pg2 is promoted' });
    const at = new Date(Date.now() + 3_600_000).toISOString();
    const scheduled = await post({ at, to: 'pg3', wait: '2s' });
    assert.equal(scheduled.status, 202);
    assert.deepEqual(scheduled.body.scheduled, { at: Date.parse(at), to: 'pg3', waitMs: 2000 });
    assert.deepEqual((await httpGet(`${url}/api/cluster`)).body.scheduled, scheduled.body.scheduled);
    const cancelled = await post({ cancel: true });
    assert.deepEqual(cancelled.body.cancelled, { scheduled: scheduled.body.scheduled, underWay: false });
    assert.equal((await httpGet(`${url}/api/cluster`)).body.scheduled, null);
    assert.equal((await post({ cancel: true })).status, 409);
    const later = await post({ in: '10min' });
    assert.ok(Math.abs(later.body.scheduled.at - Date.now() - 600_000) < 60_000);
    await post({ cancel: true });
    assert.deepEqual(fixture.asked, ['plan pg2', 'schedule pg3 wait 2000', 'schedule']);
    for (const wrong of [{ at: 'tomorrow' }, { at, in: '1s' }, { plan: true, cancel: true }, { wait: 'long' }]) {
      assert.equal((await post(wrong)).status, 400, JSON.stringify(wrong));
    }
  });

  it('says why it refuses', async () => {
    fixture.refusal = new FairleadError('refused', 'pg3 is 20 MB behind');
    const refused = await httpPost(`${url}/api/switchover`, { to: 'pg3' });
    assert.equal(refused.status, 409);
    assert.equal(refused.body.error, 'pg3 is 20 MB behind');
    assert.equal(typeof refused.body.remedy, 'string');
    fixture.refusal = null;
    assert.equal((await httpPost(`${url}/api/switchover`, { to: 'nobody' })).status, 404);
    assert.equal((await httpPost(`${url}/api/nodes/nobody/drain`)).status, 404);
    assert.equal((await httpPost(`${url}/api/switchover`, { target: 'pg2' })).status, 400);
    assert.equal((await httpPost(`${url}/api/switchover`, { to: 'x'.repeat(20_000) })).status, 413);
    assert.equal((await httpPost(`${url}/api/cluster`)).status, 405);
    assert.equal((await httpGet(`${url}/api/pause`)).status, 405);
    const nothing = await httpGet(`${url}/api/nothing`);
    assert.equal(nothing.status, 404);
    assert.equal(typeof nothing.body.error, 'string');
  });

  it('refuses other sites, rebound names and forms', async () => {
    const asks = (headers: Record<string, string>) => httpPost(`${url}/api/pause`, undefined, headers);
    assert.equal((await asks({ Origin: 'http://evil.example' })).status, 403);
    assert.equal((await asks({ Origin: 'null' })).status, 403);
    assert.equal((await asks({ 'Sec-Fetch-Site': 'cross-site' })).status, 403);
    assert.equal((await asks({ Host: 'evil.example:80' })).status, 403);
    assert.equal((await httpGet(`${url}/api/cluster`, { Host: 'evil.example' })).status, 403);
    assert.equal((await httpGet(`${url}/api/cluster`, { Host: 'localhost:1' })).status, 200);
    const form = await httpPost(`${url}/api/pause`, 'a=b', { 'Content-Type': 'text/plain' });
    assert.equal(form.status, 415);
    assert.equal((await asks({ Origin: url })).status, 200);
    await httpPost(`${url}/api/resume`);
  });

  it('serves the dashboard with a policy that keeps everything else out', async () => {
    const page = await httpGet(`${url}/`);
    assert.equal(page.status, 200);
    assert.match(String(page.headers['content-security-policy']), /default-src 'none'/);
    for (const path of page.text.matchAll(/(?:href|src)="([^"]+)"/g)) {
      const part = await httpGet(new URL(path[1] as string, url).href);
      assert.equal(part.status, 200, path[1]);
    }
    assert.equal((await httpGet(`${url}/dashboard/../api-server.ts`)).status, 404);
    assert.equal((await httpGet(`${url}/dashboard/%2e%2e/api-server.ts`)).status, 404);
  });

  it('survives garbage', async () => {
    const { port } = new URL(url);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), '127.0.0.1', () => socket.write('\x00\x00\x00\x08\x04\xd2\x16\x2f'));
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('close', () => resolve(text));
      socket.on('error', reject);
    });
    assert.match(answer, /^HTTP\/1.1 400 /);
    assert.equal((await httpGet(`${url}/healthz`)).status, 200);
  });

  it('says which port is taken', async () => {
    const second = new ApiFixture({ http: { host: '127.0.0.1', port: Number(new URL(url).port) } });
    await assert.rejects(second.server.start(), (error: FairleadError) => error.code === 'port_taken');
    await second.stop();
  });
});

describe('ApiServer beyond loopback', () => {
  it('asks for the token', async () => {
    const fixture = new ApiFixture({ http: { host: '0.0.0.0', port: 0 }, token: 'secret' });
    const url = await fixture.start();
    try {
      fixture.healthy();
      assert.equal((await httpGet(`${url}/api/cluster`, { Host: 'db.example' })).status, 200);
      assert.equal((await httpPost(`${url}/api/pause`)).status, 401);
      assert.equal((await httpPost(`${url}/api/pause`, undefined, { Authorization: 'Bearer other' })).status, 401);
      assert.equal((await httpPost(`${url}/api/pause`, undefined, { Authorization: 'Bearer secret' })).status, 200);
    } finally {
      await fixture.stop();
    }
  });

  it('refuses operations without a token', async () => {
    const fixture = new ApiFixture({ http: { host: '0.0.0.0', port: 0 } });
    const url = await fixture.start();
    try {
      assert.equal((await httpPost(`${url}/api/pause`)).status, 403);
      assert.equal(fixture.cluster.operator.value.paused, false);
    } finally {
      await fixture.stop();
    }
  });

  it('knows no lag before the first probe', async () => {
    const fixture = new ApiFixture();
    const url = await fixture.start();
    try {
      fixture.observe('pg2', 'replica', lsn(1n));
      const { body } = await httpGet(`${url}/api/lag`);
      assert.deepEqual(body.nodes[1].lag, { bytes: null, ms: null });
      assert.equal(body.primary, null);
    } finally {
      await fixture.stop();
    }
  });
});
