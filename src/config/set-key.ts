import { parse } from 'yaml';
import type { z } from 'zod';
import { FairleadError } from '../core/errors.ts';
import { type Config, configSchema } from './config.ts';
import { isLive } from './difference.ts';
import { explainIssues } from './explain-issue.ts';
import { ourText, pgbouncerKey } from './pgbouncer-keys.ts';

type Definition = {
  readonly innerType?: z.ZodType;
  readonly out?: z.ZodType;
  readonly shape?: Record<string, z.ZodType>;
  readonly valueType?: z.ZodType;
};

/**
 * The configuration with one key changed, as an operator writes it: dotted, or by PgBouncer's name.
 * @throws FairleadError bad_parameter for a key that there is not, that needs a restart, or for a value it cannot have
 */
export function withKey(config: Config, key: string, text: string): Config {
  const theirs = pgbouncerKey(key);
  const path = theirs?.path ?? key.split('.');
  const name = path.join('.');
  const schema = schemaAt(configSchema, path);
  if (schema === null)
    throw new FairleadError('bad_parameter', `there is no key ${name}`, 'SHOW CONFIG lists the keys');
  if (!isLive(name) || name.startsWith('auth.')) {
    throw new FairleadError('bad_parameter', `${name} cannot be set here`, 'write it into the configuration file');
  }
  const written = theirs === null ? text : ourText(theirs, text);
  const result = schema.safeParse(readValue(written, schema));
  if (!result.success) {
    const issues = result.error.issues.map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
    const text = explainIssues(issues, () => 'SET');
    throw new FairleadError('bad_parameter', text, 'see docs/configuration.md');
  }
  const changed = structuredClone(config);
  let at = changed as unknown as Record<string, unknown>;
  for (const part of path.slice(0, -1)) {
    if (!Object.hasOwn(at, part)) {
      throw new FairleadError(
        'bad_parameter',
        `${name}: there is no entry ${part}`,
        'add it to the configuration file',
      );
    }
    at = at[part] as Record<string, unknown>;
  }
  at[path.at(-1) as string] = result.data;
  return changed;
}

/** A text stays one where the key takes texts; numbers and null are read as YAML has them. */
function readValue(text: string, schema: z.ZodType): unknown {
  if (schema.safeParse(text).success) return text;
  return parse(text, { schema: 'core' });
}

/** The declaration of one value; null where there is none, or a section. */
function schemaAt(schema: z.ZodType, path: readonly string[]): z.ZodType | null {
  const { innerType, out, shape, valueType } = schema.def as unknown as Definition;
  const [name, ...rest] = path;
  if (shape !== undefined) {
    const inner = name !== undefined && Object.hasOwn(shape, name) ? shape[name] : undefined;
    return inner === undefined ? null : schemaAt(inner, rest);
  }
  if (valueType !== undefined) return name === undefined ? null : schemaAt(valueType, rest);
  if (name === undefined) return schema;
  const within = innerType ?? out;
  return within === undefined ? null : schemaAt(within, path);
}
