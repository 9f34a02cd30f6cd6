import { access, constants } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Config, followsOthers } from '../../config/config.ts';
import { messageOf } from '../../core/errors.ts';
import { type Finding, fine, warning } from '../../monitor/finding.ts';
import { journalDirectory } from './journal-directory.ts';

/** Whether lost transactions could be written down. Nothing of it keeps Fairlead from running. */
export async function checkJournal(config: Config): Promise<Finding[]> {
  const { keep_rows, journal_directory } = config.failover;
  if (followsOthers(config) || keep_rows === 0) return [];
  const directory = journalDirectory(journal_directory);
  const error = await obstacle(directory);
  if (error === null) return [fine(null, `transactions that a failover loses are written to ${directory}`)];
  const text = `transactions that a failover loses cannot be written to ${directory}: ${error}`;
  return [warning(null, text, 'let this user write there, or name another place in failover.journal_directory')];
}

/** What is not there yet is made when it is needed. */
async function obstacle(directory: string): Promise<string | null> {
  try {
    await access(directory, constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    const parent = dirname(directory);
    const missing = (error as { code?: string }).code === 'ENOENT';
    return missing && parent !== directory ? obstacle(parent) : messageOf(error);
  }
}
