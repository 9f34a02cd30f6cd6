import { readFileSync } from 'node:fs';
import { FairleadError, messageOf } from '../core/errors.ts';

const PEM = /-----BEGIN [A-Z0-9 ]+-----/;

/**
 * A PEM text, or the content of the file that `value` names.
 * @param key the key of the configuration, for people
 * @throws FairleadError bad_config
 */
export function readPem(value: string, key: string): string {
  if (PEM.test(value)) return value;
  try {
    return readFileSync(value, 'utf8');
  } catch (error) {
    throw new FairleadError('bad_config', `${key}: cannot read ${value}: ${messageOf(error)}`);
  }
}
