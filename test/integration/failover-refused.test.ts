import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Controlled, startControlled } from '../support/controlled.ts';
import { until } from '../support/wait.ts';

/** A machine that is busy with something else must not make the walsenders silent for two thirds of it. */
const TIMEOUT_MS = 4000;

/** A wire between Fairlead and one server that can be cut while the servers keep seeing each other. */
class Wire {
  readonly #sockets = new Set<net.Socket>();
  readonly #server: net.Server;
  #cut = false;

  constructor(port: number) {
    this.#server = net.createServer((socket) => {
      if (this.#cut) return void socket.destroy();
      const onward = net.connect(port, '127.0.0.1');
      for (const end of [socket, onward]) {
        this.#sockets.add(end);
        end.on('error', () => {});
        end.on('close', () => {
          socket.destroy();
          onward.destroy();
        });
      }
      socket.pipe(onward).pipe(socket);
    });
  }

  listen(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => resolve((this.#server.address() as net.AddressInfo).port));
    });
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#cut = false;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

describe('when nothing may be promoted', () => {
  let cluster: TestCluster;
  let fairlead: Controlled;
  let wire: Wire;

  before(async () => {
    cluster = await startTestCluster();
    wire = new Wire(cluster.node('pg1').port);
    const port = await wire.listen();
    fairlead = await startControlled(behind(cluster, port), { failover: { timeout: TIMEOUT_MS, restart_wait: '60s' } });
  });
  after(async () => {
    await fairlead?.stop();
    wire?.close();
    await cluster?.stop();
  });

  it('waits while only Fairlead is cut off: the replicas still stream', async () => {
    wire.cut();
    await until(() => /still receives WAL from pg1/.test(fairlead.model.assignment.value.reason), {
      what: 'the testimony',
    });
    assert.equal(fairlead.model.assignment.value.phase, 'suspect');
    assert.equal(fairlead.model.assignment.value.epoch, 1);
    wire.mend();
    await fairlead.steady('pg1');
    await fairlead.event('primary-returned');
    assert.equal(fairlead.model.assignment.value.epoch, 1);
  });

  it('turns a replica that was left without a primary to the present one', async () => {
    await cluster.node('pg3').query(`ALTER SYSTEM SET primary_conninfo = ''`);
    await cluster.node('pg3').query('SELECT pg_reload_conf()');
    const event = await fairlead.event('repointed', 60_000);
    assert.match(event.message, /pg3 was turned to pg1/);
    const streams = () => cluster.node('pg3').query(`SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'`);
    await until(async () => (await streams()).length === 1, { what: 'pg3 to stream again' });
  });

  it('adopts a primary that was restarted in time, on the same timeline', async () => {
    await cluster.node('pg1').kill9();
    await cluster.node('pg1').start();
    await fairlead.steady('pg1');
    assert.equal(fairlead.model.assignment.value.epoch, 1);
    await cluster.node('pg1').query('CREATE TABLE alive ()');
  });

  it('halts when the replicas are gone too, says so, and takes the primary back when it returns', async () => {
    await cluster.node('pg2').kill9();
    await cluster.node('pg3').kill9();
    await cluster.node('pg1').kill9();
    await until(() => /no replica answers/.test(fairlead.model.assignment.value.reason), {
      what: 'the reason',
      timeoutMs: 60_000,
    });
    await cluster.node('pg1').start();
    await fairlead.steady('pg1');
    assert.equal(fairlead.model.assignment.value.timeline, 1);
    await cluster.node('pg2').start();
    await cluster.node('pg3').start();
  });
});

/** The same cluster, with pg1 reached through the wire. */
function behind(cluster: TestCluster, port: number): TestCluster {
  const nodes = cluster.nodes.map((node) => (node.name === 'pg1' ? { ...node, port } : node));
  const node = (name: string) => nodes.find((n) => n.name === name) ?? cluster.node(name);
  return { ...cluster, nodes, node };
}
