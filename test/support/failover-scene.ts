/** Sixteen clients before a cluster whose primary is about to fail, and what must be true afterwards. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { ConfigInput } from '../../src/config/config.ts';
import { startTestCluster, type TestCluster } from './cluster.ts';
import { startFairlead, type TestFairlead } from './fairlead.ts';
import { httpGet, type Json } from './http.ts';
import { Journal } from './journal.ts';
import { until } from './wait.ts';

const TIMEOUT_MS = 3000;
/** An outage is over within this beside `failover.timeout`, also on a machine that is busy with something else. */
const SLOW_MS = 10_000;
const CLIENTS = 16;
/** Clients' own role: the servers can tell them from Fairlead. */
const APPLICATION = { user: 'application', password: 'app-secret' };
/** What a client may be told while the primary changes: outcome unknown, transaction lost, session lost. */
const DOCUMENTED = new Set(['08007', '40001', '57P01']);

export class FailoverScene {
  readonly cluster: TestCluster;
  readonly fairlead: TestFairlead;
  readonly journal: Journal;
  readonly epoch: number;

  private constructor(cluster: TestCluster, fairlead: TestFairlead, journal: Journal) {
    this.cluster = cluster;
    this.fairlead = fairlead;
    this.journal = journal;
    this.epoch = fairlead.app.cluster.assignment.value.epoch;
  }

  /**
   * Resolves when the clients have been writing for a while.
   * @param failover what differs in that section
   */
  static async start(failover: ConfigInput['failover'] = {}): Promise<FailoverScene> {
    const cluster = await startTestCluster();
    let fairlead: TestFairlead | null = null;
    try {
      const { user, password } = APPLICATION;
      await cluster.node('pg1').query(`CREATE ROLE ${user} LOGIN PASSWORD '${password}'`);
      await cluster.node('pg1').query(`GRANT ALL ON SCHEMA public TO ${user}`);
      fairlead = await startFairlead(cluster, {
        config: { failover: { timeout: TIMEOUT_MS, ...failover } },
        auth: { users: { [user]: password } },
      });
      const { topology } = fairlead.app.cluster;
      await until(() => topology.value.replicas.length === 2, { what: 'two replicas that serve reads' });
      const { host, port } = fairlead.app.listen;
      const journal = await Journal.start(`postgres://${user}:${password}@${host}:${port}/postgres`, CLIENTS);
      await until(() => journal.acknowledged.length > 500, { what: '500 writes', timeoutMs: 60_000 });
      return new FailoverScene(cluster, fairlead, journal);
    } catch (error) {
      await fairlead?.stop();
      await cluster.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.journal.stop().catch(() => {});
    await this.fairlead.stop();
    await this.cluster.stop();
  }

  api(path: string): Promise<Json> {
    return httpGet(`${this.fairlead.http}${path}`).then((answer) => answer.body);
  }

  /**
   * Resolves when both replicas have received what was acknowledged before this call: whoever is promoted will have it.
   * @returns the moment of the call
   */
  async replicated(): Promise<number> {
    const calledMs = performance.now();
    const [row] = await this.cluster
      .node('pg1')
      .query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
    const received = 'SELECT FROM pg_stat_wal_receiver WHERE pg_last_wal_receive_lsn() >= $1::pg_lsn';
    for (const name of ['pg2', 'pg3']) {
      await until(async () => (await this.cluster.node(name).query(received, [row?.lsn])).length === 1, {
        what: `${name} to have received it`,
      });
    }
    return calledMs;
  }

  /** @returns milliseconds from the failure to the first write that the next primary acknowledged. */
  async untilWritesResume(failedMs: number): Promise<number> {
    const { assignment } = this.fairlead.app.cluster;
    const moved = () => assignment.value.primary !== null && assignment.value.primary !== 'pg1';
    await until(moved, { what: 'another primary', timeoutMs: 60_000, everyMs: 1 });
    const movedMs = performance.now();
    const resumedMs = await until(() => this.journal.acknowledgedAfter(movedMs), {
      what: 'a write on the next primary',
    });
    return resumedMs - failedMs;
  }

  /** Name of the primary that took over, once the controller is at rest. */
  async newPrimary(): Promise<string> {
    const { assignment } = this.fairlead.app.cluster;
    const rests = () => assignment.value.phase === 'steady' && assignment.value.primary !== 'pg1';
    await until(rests, { what: 'a steady new primary', timeoutMs: 60_000 });
    return assignment.value.primary as string;
  }

  /** The other replica streams from the new primary, and serves reads again. */
  async assertFollowed(winner: string): Promise<void> {
    const other = winner === 'pg2' ? 'pg3' : 'pg2';
    const streaming =
      "SELECT application_name AS name FROM pg_stat_replication WHERE state = 'streaming' AND application_name LIKE 'pg_'";
    const followers = () => this.cluster.node(winner).query<{ name: string }>(streaming);
    await until(async () => (await followers()).some(({ name }) => name === other), {
      what: `${other} behind ${winner}`,
    });
    const serves = () => this.fairlead.app.cluster.topology.value.replicas.some(({ name }) => name === other);
    await until(serves, { what: `${other} to serve reads` });
  }

  /**
   * Ends the clients and compares what they were told with what the new primary and /api/events say.
   * @param replicatedMs what was acknowledged before that moment is on the replicas
   */
  async assertTruth(t: TestContext, winner: string, replicatedMs: number, outageMs: number): Promise<void> {
    const { journal } = this;
    await journal.stop();
    const { lost, ghosts, duplicates, missed } = journal.compare(
      await this.cluster.node(winner).query<{ id: number }>('SELECT id FROM journal'),
    );
    const { events } = await this.api('/api/events');
    const failovers = events.filter((event: Json) => event.kind === 'failover');
    assert.equal(failovers.length, 1);
    const listed = failovers[0].lost as { bytes: number; commits: number; unproven: number };
    t.diagnostic(
      `writes resumed after ${Math.round(outageMs)} ms; ${journal.acknowledged.length} acknowledged, ${lost.length} lost; ` +
        `listed as lost: ${listed.bytes} bytes, ${listed.commits} commits, ${listed.unproven} writes unproven; errors ${JSON.stringify(journal.codes)}`,
    );
    assert.deepEqual(
      journal.connections.map(({ lost }) => lost).filter((reason) => reason !== null),
      [],
      'no client connection is closed',
    );
    assert.deepEqual(journal.readErrors, []);
    assert.deepEqual(
      Object.keys(journal.codes).filter((code) => !DOCUMENTED.has(code)),
      [],
    );
    assert.deepEqual(ghosts, []);
    assert.equal(duplicates, 0);
    assert.deepEqual(missed, [], 'own writes that were not seen');
    // replication is asynchronous: what was acknowledged in the last moment may be lost, and nothing before that
    const early = journal.acknowledged.filter(({ id, endedMs }) => lost.includes(id) && endedMs < replicatedMs);
    assert.deepEqual(early, []);
    assert.ok(lost.length <= listed.unproven, `${lost.length} lost, ${listed.unproven} listed`);
    assert.equal((await this.api('/api/cluster')).epoch, this.epoch + 1);
    assert.ok(outageMs < TIMEOUT_MS + SLOW_MS, `writes resumed after ${outageMs} ms`);
  }
}
