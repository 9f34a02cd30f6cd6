/**
 * BASE_BACKUP on the wire, as pg_basebackup speaks it: the protocol of 15 and later (one COPY, messages with a letter) and that before
 * it (a COPY for each tablespace and one for the manifest). https://www.postgresql.org/docs/18/protocol-replication.html
 */
import { FairleadError } from '../core/errors.ts';
import { readDataRow } from '../wire/fields.ts';
import { SERVER } from '../wire/message-type.ts';
import { type ReplicationConnection, ServerRefused } from './replication-connection.ts';

/** Takes a backup as it comes. */
export type BackupTarget = {
  /** A stretch of the tar of the data directory. */
  archive(bytes: Buffer): Promise<void>;
  manifest(bytes: Buffer): void;
};

/** What is needed of the connection. */
export type BackupSource = Pick<ReplicationConnection, 'major' | 'send' | 'next'>;

export type BackupProgress = { readonly doneBytes: number; readonly totalBytes: number };

export type BackupResult = {
  readonly startLsn: string;
  readonly timeline: number;
  readonly endLsn: string;
};

/**
 * The WAL of the backup comes with it: it starts without a connection to the source. A slot made before keeps what comes after.
 * SHA-256, because Node computes it natively; the server's default, CRC-32C, it does not.
 */
const COMMAND = {
  new: `BASE_BACKUP (LABEL 'fairlead', PROGRESS true, CHECKPOINT 'fast', WAL true, WAIT false, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256')`,
  old: `BASE_BACKUP LABEL 'fairlead' PROGRESS FAST WAL NOWAIT MANIFEST 'yes' MANIFEST_CHECKSUMS 'SHA256'`,
} as const;

/** First bytes of CopyData from 15 on. */
const NEW_ARCHIVE = 0x6e; // n
const MANIFEST = 0x6d; // m
const DATA = 0x64; // d
const PROGRESS = 0x70; // p

/**
 * Receives a backup of the whole server. A server with tablespaces is refused before anything is copied.
 * @param progress told the bytes received and the server's estimate, which is without the WAL
 * @throws FairleadError, ServerRefused
 */
export async function receiveBackup(
  connection: BackupSource,
  target: BackupTarget,
  progress: (progress: BackupProgress) => void,
): Promise<BackupResult> {
  connection.send(connection.major >= 15 ? COMMAND.new : COMMAND.old);
  const [start] = await resultSet(connection);
  const tablespaces = await resultSet(connection);
  refuseTablespaces(tablespaces);
  const estimateBytes = tablespaces.reduce((sum, row) => sum + Number(row[2] ?? 0) * 1024, 0);
  let doneBytes = 0;
  const archive = async (bytes: Buffer) => {
    doneBytes += bytes.length;
    await target.archive(bytes);
    progress({ doneBytes, totalBytes: Math.max(estimateBytes, doneBytes) });
  };
  if (connection.major >= 15) await copyNew(connection, archive, target);
  else await copyOld(connection, archive, target);
  const [end] = await resultSet(connection);
  await untilReady(connection);
  return { startLsn: start?.[0] ?? '', timeline: Number(start?.[1] ?? 0), endLsn: end?.[0] ?? '' };
}

/** The rows up to the next CommandComplete. */
async function resultSet(connection: BackupSource): Promise<(string | null)[][]> {
  const rows: (string | null)[][] = [];
  for (;;) {
    const { type, body } = await connection.next();
    if (type === SERVER.DATA_ROW) rows.push(readDataRow(body, -5));
    else if (type === SERVER.COMMAND_COMPLETE) return rows;
    else if (type !== SERVER.ROW_DESCRIPTION) throw unexpected(type);
  }
}

function refuseTablespaces(rows: readonly (string | null)[][]): void {
  const others = rows.filter(([oid]) => oid !== null).map(([, location]) => location ?? '?');
  if (others.length === 0) return;
  throw new FairleadError(
    'unsupported',
    `the source has ${others.length} tablespace${others.length === 1 ? '' : 's'} outside its data directory: ${others.join(', ')}`,
    'clone it with pg_basebackup and --tablespace-mapping, then `fairlead rejoin` can rewind it',
  );
}

type Write = (bytes: Buffer) => Promise<void>;

async function copyNew(connection: BackupSource, archive: Write, target: BackupTarget): Promise<void> {
  await expect(connection, SERVER.COPY_OUT);
  let inManifest = false;
  let archives = 0;
  for (;;) {
    const { type, body } = await connection.next();
    if (type === SERVER.COPY_DONE) break;
    if (type !== SERVER.COPY_DATA) throw unexpected(type);
    switch (body[0]) {
      case NEW_ARCHIVE:
        if (++archives > 1) throw new FairleadError('unsupported', 'the source sends a second archive: a tablespace');
        inManifest = false;
        break;
      case MANIFEST:
        inManifest = true;
        break;
      case DATA:
        if (inManifest) target.manifest(body.subarray(1));
        else await archive(body.subarray(1));
        break;
      case PROGRESS:
        break;
      default:
        throw new FairleadError('protocol_violation', `the source sends backup data of an unknown kind ${body[0]}`);
    }
  }
}

async function copyOld(connection: BackupSource, archive: Write, target: BackupTarget): Promise<void> {
  for (const write of [archive, async (bytes: Buffer) => target.manifest(bytes)]) {
    await expect(connection, SERVER.COPY_OUT);
    for (;;) {
      const { type, body } = await connection.next();
      if (type === SERVER.COPY_DONE) break;
      if (type !== SERVER.COPY_DATA) throw unexpected(type);
      await write(body);
    }
  }
}

async function expect(connection: BackupSource, wanted: number): Promise<void> {
  const { type } = await connection.next();
  if (type !== wanted) throw unexpected(type);
}

async function untilReady(connection: BackupSource): Promise<void> {
  while ((await connection.next()).type !== SERVER.READY);
}

function unexpected(type: number): FairleadError {
  return new FairleadError(
    'protocol_violation',
    `the source sends a message of type ${String.fromCharCode(type)} inside a backup`,
  );
}

/** Makes the physical slot, which keeps WAL from now on; one that exists already is as good. @throws ServerRefused */
export async function ensureSlotByReplication(connection: ReplicationConnection, slot: string): Promise<void> {
  try {
    await connection.rows(`CREATE_REPLICATION_SLOT "${slot}" PHYSICAL RESERVE_WAL`);
  } catch (error) {
    // duplicate_object
    if (!(error instanceof ServerRefused) || error.serverState !== '42710') throw error;
  }
}
