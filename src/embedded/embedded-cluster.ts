/**
 * A real, throw-away PostgreSQL cluster on this machine: one primary and its streaming replicas, for `fairlead demo` and
 * the tests. Everything it makes is gone when the process ends, however it ends; after SIGKILL the next run cleans up.
 */

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, chownSync } from 'node:fs';
import { join } from 'node:path';
import { FairleadError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { SILENT } from '../core/log.ts';
import { findBinaries, type PostgresBinaries } from './binaries.ts';
import { type ClusterDirectory, makeClusterDirectory, removeAbandonedClusters } from './cluster-directory.ts';
import { EmbeddedNode, LOOPBACK, type Place } from './embedded-node.ts';
import { atExit } from './exit-cleanup.ts';
import { freePort } from './free-port.ts';
import { cloneServer, initializeDatabase, makeDirectory, writeOwned } from './initialize.ts';
import { hbaFor, renderSettings, type Settings, serverSettings, standbySettings } from './server-settings.ts';
import { type UnprivilegedUser, unprivilegedUser } from './unprivileged-user.ts';

export type EmbeddedClusterOptions = {
  readonly replicas: number;
  /** New or empty directory for the data; by default below the temporary directory. */
  readonly dataDir?: string | undefined;
  /** Directory of `postgres` and `initdb`, 13 to 18; by default the bundled ones. */
  readonly pgBin?: string | undefined;
  /** Further settings of every server. */
  readonly settings?: Settings | undefined;
  /** False switches fsync off; for tests. */
  readonly durable?: boolean | undefined;
  readonly log?: Log | undefined;
  /** Where each server runs; by default on the loopback address. @param data the directory that holds the nodes' */
  readonly placeOf?: ((name: string, data: string) => Place) | undefined;
};

const SUPERUSER = 'postgres';

/** Name of the physical slot that a node streams from. */
export function slotOf(nodeName: string): string {
  return nodeName.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_');
}

/** A running cluster; pg1 began as the primary. */
export class EmbeddedCluster {
  readonly nodes: readonly EmbeddedNode[];
  readonly superuser: string;
  readonly password: string;
  readonly version: string;
  /** Directory of the servers' programs. */
  readonly programs: string;
  readonly #directory: ClusterDirectory;
  readonly #forget: () => void;

  constructor(
    nodes: readonly EmbeddedNode[],
    login: { superuser: string; password: string },
    binaries: PostgresBinaries,
    directory: ClusterDirectory,
    forget: () => void,
  ) {
    this.nodes = nodes;
    this.superuser = login.superuser;
    this.password = login.password;
    this.version = binaries.version;
    this.programs = binaries.directory;
    this.#directory = directory;
    this.#forget = forget;
  }

  /** A directory for what goes with the cluster; removed with it. */
  get scratch(): string {
    return this.#directory.scratch;
  }

  /** @throws RangeError when there is no such node. */
  node(name: string): EmbeddedNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new RangeError(`no node ${name} in this cluster`);
    return found;
  }

  /** Stops every server, whatever state it is in, and removes the directories. */
  async stop(): Promise<void> {
    // immediately: nothing of it is to be kept, and a fast stop waits for whoever follows the logical stream
    await Promise.all(this.nodes.map((node) => node.stop('immediate', 3000)));
    this.#directory.remove();
    this.#forget();
  }
}

/** @throws FairleadError when binaries, directory or servers will not do. */
export async function startEmbeddedCluster(options: EmbeddedClusterOptions): Promise<EmbeddedCluster> {
  const log = options.log ?? SILENT;
  for (const directory of removeAbandonedClusters()) log.info({ directory }, 'removed what a crashed run left behind');
  const user = unprivilegedUser();
  const directory = makeClusterDirectory(options.dataDir ?? null);
  const nodes: EmbeddedNode[] = [];
  const cleanUp = () => {
    for (const node of nodes) node.killNow();
    directory.remove();
  };
  const forget = atExit(cleanUp);
  try {
    const binaries = findBinaries(options.pgBin ?? null, user, directory.scratch);
    const login = { superuser: SUPERUSER, password: randomBytes(12).toString('hex') };
    const plan: Plan = { ...options, data: directory.data, binaries, user, login };
    requireAccess(plan);
    // an agent beside a server replaces its directory, as the user who owns it
    if (user !== null && options.dataDir === undefined) chownSync(directory.data, user.uid, user.gid);
    const primary = await createPrimary(plan);
    nodes.push(primary);
    await primary.start();
    nodes.push(...(await createReplicas(plan, primary)));
    await Promise.all(nodes.map((node) => node.start()));
    log.info({ version: binaries.version, nodes: nodes.map((node) => `${node.name}:${node.port}`) }, 'cluster started');
    return new EmbeddedCluster(nodes, login, binaries, directory, forget);
  } catch (error) {
    cleanUp();
    forget();
    throw error;
  }
}

type Plan = EmbeddedClusterOptions & {
  /** Holds the nodes' directories. */
  readonly data: string;
  readonly binaries: PostgresBinaries;
  readonly user: UnprivilegedUser | null;
  readonly login: { readonly superuser: string; readonly password: string };
};

/** A directory below /root is closed to the user that runs PostgreSQL: say so instead of letting initdb stumble. */
function requireAccess({ user, data }: Plan): void {
  try {
    execFileSync('/bin/sh', ['-c', 'cd "$1"', 'sh', data], {
      cwd: '/',
      stdio: 'ignore',
      ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
    });
  } catch (error) {
    const who = user?.name ?? 'this user';
    const remedy = 'name a --data-dir that others may pass through';
    throw new FairleadError('bad_arguments', `${who}, who runs PostgreSQL, may not enter ${data}`, remedy, error);
  }
}

async function createNode(plan: Plan, number: number): Promise<EmbeddedNode> {
  const name = `pg${number}`;
  const directory = join(plan.data, name);
  makeDirectory(directory, plan.user);
  return new EmbeddedNode({
    name,
    place: placeOf(plan, name),
    port: await freePort(),
    directory,
    logFile: `${directory}.log`,
    binaries: plan.binaries,
    user: plan.user,
    ...plan.login,
  });
}

function placeOf(plan: Plan, name: string): Place {
  return plan.placeOf?.(name, plan.data) ?? LOOPBACK;
}

function configure(node: EmbeddedNode, plan: Plan): void {
  const { host, socketDirectory } = placeOf(plan, node.name);
  const place = { listen_addresses: host, unix_socket_directories: socketDirectory ?? '' };
  const settings = serverSettings(node.port, plan.durable ?? true, { ...place, ...plan.settings });
  // the last one of a name wins: a copy's file holds its source's settings above its own
  appendFileSync(join(node.directory, 'postgresql.conf'), `\n${renderSettings(settings)}`);
}

async function createPrimary(plan: Plan): Promise<EmbeddedNode> {
  const node = await createNode(plan, 1);
  await initializeDatabase(node.directory, plan.binaries, plan.user, plan.login);
  configure(node, plan);
  const { network, socketDirectory } = placeOf(plan, node.name);
  writeOwned(join(node.directory, 'pg_hba.conf'), hbaFor(network, socketDirectory !== null), plan.user);
  return node;
}

async function createReplicas(plan: Plan, primary: EmbeddedNode): Promise<EmbeddedNode[]> {
  const nodes: EmbeddedNode[] = [];
  for (let number = 2; number <= plan.replicas + 1; number++) nodes.push(await createNode(plan, number));
  if (nodes.length === 0) return nodes;
  const targets = nodes.map((node) => ({ directory: node.directory, slot: slotOf(node.name) }));
  await cloneServer(primary, targets, plan.binaries.major, plan.user);
  for (const node of nodes) {
    configure(node, plan);
    const link = { host: primary.host, port: primary.port, user: plan.login.superuser, password: plan.login.password };
    const standby = standbySettings({ ...link, nodeName: node.name, slot: slotOf(node.name) });
    // where ALTER SYSTEM will replace them when the node is pointed elsewhere
    appendFileSync(join(node.directory, 'postgresql.auto.conf'), renderSettings(standby));
  }
  return nodes;
}
