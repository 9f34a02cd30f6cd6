/** The options of every command that needs a configuration. */
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';

export const CONFIG_OPTIONS = {
  config: { type: 'string', short: 'c' },
  node: { type: 'string', multiple: true },
  user: { type: 'string' },
  database: { type: 'string' },
  listen: { type: 'string' },
  http: { type: 'string' },
} as const;

type Given = { [Name in keyof typeof CONFIG_OPTIONS]?: string | string[] | boolean | undefined };

/** @throws FairleadError bad_config with one line. */
export function configFrom(values: Given, environment: NodeJS.ProcessEnv): Config {
  const { config, node, user, database, listen, http } = values as { node?: string[] } & Record<string, string>;
  return loadConfig({ file: config ?? null, environment, flags: { nodes: node, user, database, listen, http } });
}
