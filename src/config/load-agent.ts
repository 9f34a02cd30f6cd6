import { resolve } from 'node:path';
import { FairleadError } from '../core/errors.ts';
import { type AgentConfig, agentSchema } from './config.ts';
import { readEnvironment } from './environment.ts';
import { explainIssues } from './explain-issue.ts';
import { readSection } from './load.ts';

/** What the command line can say. */
export type AgentFlags = {
  readonly dataDirectory?: string | undefined;
  readonly binDirectory?: string | undefined;
  readonly configFile?: string | undefined;
  readonly listen?: string | undefined;
  readonly token?: string | undefined;
};

/** Paths of the section, relative to the configuration file. */
const PATHS = ['data_directory', 'bin_directory', 'config_file'] as const;

/**
 * Section `agent` of a configuration file, which need hold nothing else: the file of the cluster will do, and nothing else of it is looked
 * at. Over it the environment, over that the command line.
 * @throws FairleadError bad_config with one line.
 */
export function loadAgentConfig(file: string | null, environment: NodeJS.ProcessEnv, flags: AgentFlags): AgentConfig {
  const section = file === null ? {} : readSection(file, 'agent', environment);
  for (const key of PATHS)
    if (typeof section[key] === 'string') section[key] = resolve(file ?? '.', '..', section[key]);
  for (const { path, value } of readEnvironment(environment)) {
    if (path[0] === 'agent' && path[1] !== undefined) section[path[1]] = value;
  }
  const given = {
    data_directory: flags.dataDirectory,
    bin_directory: flags.binDirectory,
    config_file: flags.configFile,
    token: flags.token,
    listen: flags.listen,
  };
  for (const [key, value] of Object.entries(given)) if (value !== undefined) section[key] = value;
  const result = agentSchema.safeParse(section);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => ({ ...issue, path: ['agent', ...issue.path] }));
  throw new FairleadError(
    'bad_config',
    explainIssues(issues, () => file ?? 'command line'),
  );
}
