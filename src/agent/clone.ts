/**
 * A base backup of the source, received into a directory beside the data directory, verified, made a standby, brought to the disk, and
 * only then moved into place. Killed at any moment, the next run finds either the old directory or the new one.
 */
import { existsSync, statfsSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { FairleadError } from '../core/errors.ts';
import { BackupWriter } from './backup-writer.ts';
import { type BackupProgress, ensureSlotByReplication, receiveBackup } from './base-backup.ts';
import { readControlFile } from './control-file.ts';
import { requireWritable } from './drop-privileges.ts';
import type { LocalNode } from './local-node.ts';
import { REPLACED_MS, stopServer } from './local-server.ts';
import type { Step } from './operation.ts';
import { finishMove, makeOwned, moveIntoPlace, removeTree, requireMovable } from './places.ts';
import { ReplicationConnection } from './replication-connection.ts';
import { replicationLogin, type Source } from './source.ts';
import { forgetOwnFiles, keepOwnFiles, makeStandby, restoreOwnFiles, wasPrimary } from './standby-files.ts';

/** Room that must be left beside the estimate: WAL of the backup is not in it. */
const SPARE_BYTES = 64 * 1024 * 1024;

/** Leaves the server stopped, with the clone in place. @throws FairleadError; the data directory is then as it was */
export async function clone(node: LocalNode, source: Source, step: Step): Promise<void> {
  const { places } = node;
  requireMovable(places.data);
  requireWritable(places.data);
  finishMove(places);
  makeOwned(places.beside, node.owner);
  removeTree(places.complete);
  removeTree(places.fresh);
  step('connecting to the source');
  const connection = await ReplicationConnection.open(replicationLogin(source));
  try {
    await requireFit(node, connection);
    // before the backup: from now on the source keeps what the clone will ask for
    if (source.slot !== null) await ensureSlotByReplication(connection, source.slot);
    makeOwned(places.fresh, node.owner);
    await receive(node, connection, step);
  } finally {
    connection.close();
  }
  keepOwnFiles(node);
  const known = restoreOwnFiles(node, places.fresh);
  const former = known && wasPrimary(places.data);
  makeStandby(places.fresh, source, known ? {} : node.config.settings, { owner: node.owner, former });
  step('bringing it to the disk');
  await new BackupWriter(places.fresh, node.owner).sync();
  writeFileSync(places.complete, '', { flush: true });
  await stopServer(node, 'fast', step, Math.min(node.config.stop_timeout, REPLACED_MS));
  step('moving it into place');
  moveIntoPlace(places);
  // what stood there is gone, and with it whatever a broken rewind had left
  removeTree(places.rewinding);
  forgetOwnFiles(node);
}

/** The same major version, and no other cluster's data in the way. */
async function requireFit(node: LocalNode, connection: ReplicationConnection): Promise<void> {
  if (connection.major !== node.major) {
    throw new FairleadError(
      'refused',
      `the source is PostgreSQL ${connection.major}, and the programs in ${node.bin} are ${node.version}`,
      'name the programs of the same major version with --pg-bin, or agent.bin_directory',
    );
  }
  const [row] = await connection.rows('IDENTIFY_SYSTEM');
  const own = readControlFile(node.places.data)?.systemId ?? null;
  if (own === null || own === row?.[0]) return;
  throw new FairleadError(
    'refused',
    `${node.places.data} holds another cluster: system identifier ${own}, the source's is ${row?.[0]}`,
    'move it away, or name another data directory',
  );
}

async function receive(node: LocalNode, connection: ReplicationConnection, step: Step): Promise<void> {
  const writer = new BackupWriter(node.places.fresh, node.owner);
  let checked = false;
  const progress = (bytes: BackupProgress) => {
    if (!checked) requireRoom(dirname(node.places.data), bytes.totalBytes);
    checked = true;
    step('copying', bytes);
  };
  step('waiting for a checkpoint of the source');
  try {
    const backup = await receiveBackup(connection, writer, progress);
    const files = writer.finish();
    node.log.info({ ...backup, files }, 'base backup received and verified');
  } catch (error) {
    writer.abandon();
    removeTree(node.places.fresh);
    if (error instanceof FairleadError) throw error;
    throw new FairleadError('refused', `the backup is of no use: ${(error as Error).message}`, 'try again', error);
  }
}

function requireRoom(directory: string, neededBytes: number): void {
  if (!existsSync(directory)) return;
  const { bavail, bsize } = statfsSync(directory);
  if (bavail * bsize >= neededBytes + SPARE_BYTES) return;
  const mb = (bytes: number) => `${Math.ceil(bytes / 1024 ** 2)} MB`;
  throw new FairleadError(
    'refused',
    `a clone needs ${mb(neededBytes + SPARE_BYTES)}, and ${directory} has ${mb(bavail * bsize)} left`,
    'make room: until the clone is whole, the old data directory stays',
  );
}
