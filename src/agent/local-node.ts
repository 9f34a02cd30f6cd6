import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { AgentConfig } from '../config/config.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { UnprivilegedUser } from '../embedded/unprivileged-user.ts';
import { ownerOf, type Places, placesOf } from './places.ts';

/** The server that an agent stands beside: its programs, its directory, and who it runs as. */
export type LocalNode = {
  readonly config: AgentConfig;
  readonly places: Places;
  readonly bin: string;
  readonly version: string;
  readonly major: number;
  /** Null: as ourselves. */
  readonly owner: UnprivilegedUser | null;
  readonly log: Log;
};

/** @throws FairleadError bad_config with what is missing. */
export function localNode(config: AgentConfig, log: Log): LocalNode {
  const { data_directory, bin_directory } = config;
  if (data_directory === null) {
    throw new FairleadError('bad_config', 'no data directory', 'give --data-dir, or agent.data_directory');
  }
  if (bin_directory === null) {
    throw new FairleadError(
      'bad_config',
      'no directory of PostgreSQL programs',
      'give --pg-bin, or agent.bin_directory',
    );
  }
  const given = resolve(data_directory);
  const parent = dirname(given);
  if (!existsSync(parent)) throw new FairleadError('bad_config', `${parent} does not exist`, 'create it');
  // the kernel shows a process's directory without links
  const places = placesOf(join(realpathSync(parent), basename(given)));
  const bin = resolve(bin_directory);
  const owner = ownerOf(places.data);
  const version = versionOf(bin, owner);
  return { config, places, bin, version, major: Number.parseInt(version, 10), owner, log };
}

/** Uid and gid for a child process. */
export function identityOf({ owner }: Pick<LocalNode, 'owner'>): { uid?: number; gid?: number } {
  return owner === null ? {} : { uid: owner.uid, gid: owner.gid };
}

function versionOf(bin: string, owner: UnprivilegedUser | null): string {
  let text: string;
  try {
    const program = join(bin, 'postgres');
    text = execFileSync(program, ['--version'], { encoding: 'utf8', cwd: '/', ...identityOf({ owner }) });
  } catch (error) {
    throw new FairleadError(
      'bad_config',
      `${join(bin, 'postgres')} does not run: ${messageOf(error).split('\n')[0]}`,
      'name the directory of postgres with --pg-bin, or agent.bin_directory',
    );
  }
  return /PostgreSQL\) (\d+\S*)/.exec(text)?.[1] ?? '0';
}
