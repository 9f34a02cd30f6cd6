import { parse } from 'yaml';
import { FairleadError, messageOf } from '../core/errors.ts';
import { configKeys, environmentName, type Key, nearest } from './keys.ts';

/** A value from the environment, with the variable it came from. */
export type EnvironmentValue = { readonly path: readonly string[]; readonly variable: string; readonly value: unknown };

/** What Docker and Kubernetes set for a service that happens to be called fairlead…: not meant for us. */
const SERVICE_LINK = /_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_\w+)?)$/;

/**
 * Every key that is set as `FAIRLEAD_…`. Lists are written `a,b`, maps `pg1=host:5432,pg2=host:5432` or as YAML in braces.
 * @throws FairleadError bad_config for a variable that looks like one of a section's keys and is not.
 */
export function readEnvironment(environment: NodeJS.ProcessEnv): EnvironmentValue[] {
  const keys = configKeys().filter((key) => !key.path.includes('*'));
  const byName = new Map(keys.map((key) => [environmentName(key.path), key]));
  const sections = new Set(
    keys.filter((key) => key.path.length > 1).map((key) => environmentName(key.path.slice(0, 1))),
  );
  const values: EnvironmentValue[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith('FAIRLEAD_') || text === undefined || text === '') continue;
    const key = byName.get(variable);
    if (key !== undefined) {
      values.push({ path: key.path, variable, value: parseValue(key, variable, text) });
      continue;
    }
    const inSection = [...sections].some((section) => variable.startsWith(`${section}_`));
    if (!inSection || SERVICE_LINK.test(variable)) continue;
    const near = nearest(variable, [...byName.keys()]);
    const hint = near === null ? '' : `; did you mean ${near}?`;
    throw new FairleadError('bad_config', `environment: ${variable} is no key of the configuration${hint}`);
  }
  return values;
}

function parseValue(key: Key, variable: string, text: string): unknown {
  if (key.kind === 'number' || key.kind === 'boolean') return parse(text, { schema: 'core' });
  if (key.kind === 'list') return splitList(text);
  if (key.kind !== 'map') return text;
  if (text.trimStart().startsWith('{')) {
    try {
      return parse(text);
    } catch (error) {
      throw new FairleadError('bad_config', `environment: ${variable}: ${messageOf(error).split('\n')[0]}`);
    }
  }
  return Object.fromEntries(splitList(text).map((item) => splitPair(item, `environment: ${variable}`)));
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** Splits `NAME=VALUE`. @param where starts the error's line */
export function splitPair(item: string, where: string): [string, string] {
  const at = item.indexOf('=');
  if (at > 0) return [item.slice(0, at).trim(), item.slice(at + 1).trim()];
  throw new FairleadError('bad_config', `${where}: "${item}" is not of the form NAME=VALUE`);
}
