/**
 * pg_rewind: turns a data directory that has WAL of its own back to where it left the source's history, and makes it a standby. A dry run
 * comes first, so that what can be refused is refused before anything is changed.
 */
import { spawn } from 'node:child_process';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { FairleadError } from '../core/errors.ts';
import { serverEnvironment } from '../embedded/embedded-node.ts';
import { formatConninfo } from '../failover/conninfo.ts';
import { isShutDown, readControlFile } from './control-file.ts';
import { identityOf, type LocalNode } from './local-node.ts';
import { configArguments, REPLACED_MS, startServer, stopServer } from './local-server.ts';
import type { Step } from './operation.ts';
import { makeOwned, writeOwnedFile } from './places.ts';
import { type Source, withoutPassword } from './source.ts';
import { forgetOwnFiles, keepOwnFiles, makeStandby, restoreOwnFiles, wasPrimary } from './standby-files.ts';

const REMEDY =
  'clone it instead (`fairlead rejoin NODE --clone`); pg_rewind needs wal_log_hints = on or data checksums, the WAL since the fork, and a role that may read the source’s files';

/** Why pg_rewind cannot be used on this node; null: nothing known. */
export function noRewind({ bin, places }: Pick<LocalNode, 'bin' | 'places'>): string | null {
  if (!existsSync(join(bin, 'pg_rewind'))) return `there is no pg_rewind in ${bin}`;
  if (existsSync(places.rewinding)) return 'a rewind was interrupted: the data directory is neither old nor new';
  if (readControlFile(places.data) === null) return `there is no data directory ${places.data}`;
  return null;
}

/** Leaves the server stopped. @throws FairleadError refused; the data directory is then as it was, or marked as unusable */
export async function rewind(node: LocalNode, source: Source, step: Step): Promise<void> {
  const { places } = node;
  const obstacle = noRewind(node);
  if (obstacle !== null) throw new FairleadError('refused', obstacle, REMEDY);
  const former = wasPrimary(places.data);
  await stopServer(node, 'fast', step, Math.min(node.config.stop_timeout, REPLACED_MS));
  await recover(node, step);
  makeOwned(places.beside, node.owner);
  keepOwnFiles(node);
  step('looking at what has to be rewound');
  await runRewind(node, source, ['--dry-run'], () => {});
  // from here on it is neither: pg_rewind's documentation says that a run that was broken off cannot be repeated
  writeOwnedFile(places.rewinding, `${new Date().toISOString()}\n`, node.owner);
  step('rewinding');
  await runRewind(node, source, ['--progress'], (bytes) => step('rewinding', bytes));
  restoreOwnFiles(node, places.data);
  makeStandby(places.data, source, {}, { owner: node.owner, former });
  rmSync(places.rewinding);
  forgetOwnFiles(node);
}

/** pg_rewind wants a server that was shut down in order: what crashed recovers first. */
async function recover(node: LocalNode, step: Step): Promise<void> {
  const { data } = node.places;
  const control = readControlFile(data);
  if (control === null || isShutDown(control)) return;
  step('recovering what was not shut down');
  if (existsSync(join(data, 'standby.signal'))) {
    // single-user servers know no standby mode: a server that listens to nobody
    await startServer(node, step, ['-c', 'primary_conninfo=', '-c', 'restore_command=', '-c', 'listen_addresses=']);
    return stopServer(node, 'fast', step);
  }
  const recovery = join(data, 'recovery.signal');
  if (existsSync(recovery)) renameSync(recovery, `${recovery}.fairlead`);
  const program = join(node.bin, 'postgres');
  const said: string[] = [];
  const run = ['--single', '-D', data, ...configArguments(node), 'template1'];
  const code = await runProgram(node, program, run, {}, (line) => said.push(line));
  if (code === 0) return;
  throw new FairleadError('refused', `crash recovery failed: ${said.slice(-2).join(' | ')}`, REMEDY);
}

type Bytes = { readonly doneBytes: number; readonly totalBytes: number };

async function runRewind(
  node: LocalNode,
  source: Source,
  options: readonly string[],
  progress: (bytes: Bytes) => void,
): Promise<void> {
  const { pairs, password } = withoutPassword(source.rewindConninfo ?? source.conninfo);
  const config = node.config.config_file;
  const args = [
    `--target-pgdata=${node.places.data}`,
    `--source-server=${formatConninfo(pairs)}`,
    ...options,
    ...(config === null || node.major < 14 ? [] : [`--config-file=${config}`]),
  ];
  const said: string[] = [];
  const environment = password === null ? {} : { PGPASSWORD: password };
  const code = await runProgram(node, join(node.bin, 'pg_rewind'), args, environment, (line) => {
    const counted = /^\s*(\d+)\/\s*(\d+) kB \(/.exec(line);
    if (counted === null) said.push(line);
    else progress({ doneBytes: Number(counted[1]) * 1024, totalBytes: Number(counted[2]) * 1024 });
  });
  node.log.info({ code, options, said: said.slice(-10) }, 'pg_rewind has ended');
  if (code === 0) return;
  const reason = said.slice(-2).join(' | ').replaceAll('pg_rewind: ', '');
  throw new FairleadError('refused', `pg_rewind: ${reason || `ended with code ${code}`}`, REMEDY);
}

/** Runs one of the server's programs as its owner, in the data directory, by which a later run of ours finds it. */
function runProgram(
  node: LocalNode,
  program: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  line: (text: string) => void,
): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: node.places.data,
      env: { ...serverEnvironment(), ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...identityOf(node),
    });
    const tell = (text: string) => {
      try {
        line(text);
      } catch (error) {
        // nobody wants it any more
        child.kill();
        reject(error);
      }
    };
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (text: string) => {
        const lines = `${rest}${text}`.split(/[\r\n]+/);
        rest = lines.pop() ?? '';
        for (const found of lines) if (found !== '') tell(found);
      });
      stream.on('end', () => {
        if (rest !== '') tell(rest);
      });
    }
    child.once('error', (error) =>
      reject(new FairleadError('refused', `${program} does not run: ${error.message}`, REMEDY)),
    );
    child.once('close', resolve);
  });
}
