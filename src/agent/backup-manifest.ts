import { createHash } from 'node:crypto';

/** A file as it arrived. */
export type ReceivedFile = { readonly sizeBytes: number; readonly sha256: string };

type ManifestFile = {
  readonly Path?: string;
  /** In hex, for a name that is not UTF-8. */
  readonly 'Encoded-Path'?: string;
  readonly Size: number;
  readonly 'Checksum-Algorithm'?: string;
  readonly Checksum?: string;
};

/**
 * Compares what arrived with the server's manifest, as pg_verifybackup does. https://www.postgresql.org/docs/current/backup-manifest-format.html
 * @returns how many files agree. @throws Error with the first difference
 */
export function verifyManifest(manifest: Buffer, received: ReadonlyMap<string, ReceivedFile>): number {
  const lastLine = manifest.lastIndexOf('"Manifest-Checksum"');
  const { Files: files, 'Manifest-Checksum': own } = JSON.parse(manifest.toString('utf8')) as {
    Files: ManifestFile[];
    'Manifest-Checksum': string;
  };
  if (createHash('sha256').update(manifest.subarray(0, lastLine)).digest('hex') !== own) {
    throw new Error('the backup manifest does not match its own checksum');
  }
  for (const file of files) {
    const path = file.Path ?? Buffer.from(file['Encoded-Path'] ?? '', 'hex').toString('utf8');
    const found = received.get(path);
    if (found === undefined) throw new Error(`the backup lacks ${path}`);
    if (found.sizeBytes !== file.Size) {
      throw new Error(`${path} has ${found.sizeBytes} bytes, the manifest says ${file.Size}`);
    }
    if (file['Checksum-Algorithm'] === 'SHA256' && file.Checksum !== found.sha256) {
      throw new Error(`${path} does not have the checksum that the manifest says`);
    }
  }
  return files.length;
}
