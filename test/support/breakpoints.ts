/** Stands between Fairlead and the servers, and sees each statement by which it changes something there. */
import net from 'node:net';
import type { TestCluster } from './test-cluster.ts';

/** What a change of primary, and the keeper of synchronous replication, do to servers. */
const CHANGES =
  /ALTER SYSTEM [^\0]*|SELECT pg_(?:reload_conf|promote|drop_replication_slot|create_physical_replication_slot|terminate_backend)\([^\0]*|SELECT CASE [^\0]*pg_promote\([^\0]*|insert into "fairlead"\."(?:epochs|synchrony)"/;

export type Step = { readonly node: string; readonly statement: string };

type Watch = {
  /** @returns what happens there */
  decide(step: Step): 'pass' | 'cut before' | 'cut after';
  cut(step: Step): void;
};

export class Breakpoints {
  readonly #servers: net.Server[] = [];
  /** With the node that each leads to. */
  readonly #sockets = new Map<net.Socket, string>();
  readonly #severed = new Set<string>();
  readonly #ports = new Map<string, number>();
  /** Null: everything passes. */
  watch: Watch | null = null;

  static async before(cluster: TestCluster): Promise<Breakpoints> {
    const breakpoints = new Breakpoints();
    for (const node of cluster.nodes) await breakpoints.#listen(node.name, node);
    return breakpoints;
  }

  /** Where Fairlead finds the server. */
  port(node: string): number {
    return this.#ports.get(node) ?? 0;
  }

  stop(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  /** Breaks every connection to the server, and takes none until it is restored. */
  sever(node: string): void {
    this.#severed.add(node);
    for (const [socket, leadsTo] of this.#sockets) if (leadsTo === node) socket.destroy();
  }

  restore(node: string): void {
    this.#severed.delete(node);
  }

  async #listen(name: string, target: { readonly host: string; readonly port: number }): Promise<void> {
    const server = net.createServer({ noDelay: true }, (socket) => this.#connect(name, socket, target));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#servers.push(server);
    this.#ports.set(name, (server.address() as net.AddressInfo).port);
  }

  #connect(name: string, client: net.Socket, target: { readonly host: string; readonly port: number }): void {
    if (this.#severed.has(name)) {
      client.on('error', () => {});
      client.destroy();
      return;
    }
    const server = net.connect({ host: target.host, port: target.port, noDelay: true });
    let cutting: Step | null = null;
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.set(socket, name);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => {
      const statement = CHANGES.exec(chunk.toString('latin1'))?.[0];
      const step = statement === undefined ? null : { node: name, statement };
      const what = step === null ? 'pass' : (this.watch?.decide(step) ?? 'pass');
      if (step !== null && what === 'cut before') return this.watch?.cut(step);
      if (what === 'cut after') cutting = step;
      if (!server.destroyed) server.write(chunk);
    });
    server.on('data', (chunk: Buffer) => {
      if (cutting !== null) return this.watch?.cut(cutting);
      client.write(chunk);
    });
  }
}
