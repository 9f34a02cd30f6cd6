/** The keys of the configuration, read out of its declaration: for the help text, the environment and suggestions. */
import type { z } from 'zod';
import { configSchema } from './config.ts';

export type Key = {
  /** `['pool', 'size']`; `*` stands for a name the user chooses (a node, a user). */
  readonly path: readonly string[];
  readonly kind: 'text' | 'number' | 'boolean' | 'enum' | 'list' | 'map';
  readonly description: string;
  /** As it would be written, or null when the key must be given. */
  readonly defaultText: string | null;
  /** What an enum allows. */
  readonly allowed: readonly string[];
};

type Definition = {
  readonly type: string;
  readonly innerType?: z.ZodType;
  readonly out?: z.ZodType;
  readonly shape?: Record<string, z.ZodType>;
  readonly valueType?: z.ZodType;
  readonly entries?: Record<string, string>;
  readonly defaultValue?: unknown;
};

const definitionOf = (schema: z.ZodType) => schema.def as unknown as Definition;

let known: readonly Key[] | undefined;

/** Every key, in the order of the declaration. */
export function configKeys(): readonly Key[] {
  known ??= walk(configSchema, [], { description: '', defaultText: null });
  return known;
}

/** Name of the environment variable for a key: `FAIRLEAD_POOL_SIZE`. */
export function environmentName(path: readonly string[]): string {
  return `FAIRLEAD_${path.join('_').toUpperCase()}`;
}

type Outer = { readonly description: string; readonly defaultText: string | null };

function walk(schema: z.ZodType, path: readonly string[], outer: Outer): Key[] {
  const definition = definitionOf(schema);
  const description = outer.description || schema.description || '';
  const leaf = (kind: Key['kind'], allowed: readonly string[] = []): Key => ({
    ...{ path, kind, description, allowed },
    defaultText: outer.defaultText,
  });
  switch (definition.type) {
    case 'default':
    case 'prefault':
    case 'nullable':
    case 'optional': {
      const defaultText = 'defaultValue' in definition ? textOf(path, definition.defaultValue) : outer.defaultText;
      return walk(definition.innerType as z.ZodType, path, { description, defaultText });
    }
    case 'pipe':
      // z.preprocess() in front of a shape, or a text that is parsed
      return definitionOf(definition.out as z.ZodType).type === 'object'
        ? walk(definition.out as z.ZodType, path, outer)
        : [leaf('text')];
    case 'object':
      return Object.entries(definition.shape ?? {}).flatMap(([name, inner]) =>
        walk(inner, [...path, name], { description: '', defaultText: null }),
      );
    case 'record':
      return [
        leaf('map'),
        // of values without keys there is nothing more to say
        ...walk(definition.valueType as z.ZodType, [...path, '*'], { description: '', defaultText: null }).filter(
          (key) => key.path.at(-1) !== '*',
        ),
      ];
    case 'array':
      return [leaf('list')];
    case 'enum':
      return [leaf('enum', Object.values(definition.entries ?? {}))];
    case 'number':
    case 'boolean':
      return [leaf(definition.type)];
    default:
      return [leaf('text')];
  }
}

/** A value in the way it would be written: times are kept in milliseconds inside, sizes in bytes. */
export function textOf(path: readonly string[], value: unknown): string {
  if (value === null) return 'none';
  if (typeof value === 'object') {
    if ('host' in value && 'port' in value) return `${value.host}:${value.port}`;
    if ('ms' in value && value.ms !== null) return timeText(value.ms as number);
    if ('bytes' in value) return `${value.bytes}B`;
    return Array.isArray(value) ? '[]' : '{}';
  }
  const name = path.at(-1) ?? '';
  if (typeof value === 'number' && /(_|^)(interval|timeout|wait|hold|lifetime|delay|period)$/.test(name))
    return timeText(value);
  if (typeof value === 'number' && /^max_loss$|^keep_rows$|_backlog$|^(warn|drop)_at$/.test(name))
    return sizeText(value);
  return String(value);
}

function timeText(ms: number): string {
  if (ms > 0 && ms % 3_600_000 === 0) return `${ms / 3_600_000}h`;
  if (ms > 0 && ms % 60_000 === 0) return `${ms / 60_000}min`;
  return ms > 0 && ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

function sizeText(bytes: number): string {
  return bytes > 0 && bytes % 1024 ** 3 === 0 ? `${bytes / 1024 ** 3}GB` : `${bytes / 1024 ** 2}MB`;
}

/** The known name closest to a mistyped one, or null when none is near. */
export function nearest(name: string, candidates: readonly string[]): string | null {
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best !== undefined && best.distance <= Math.max(2, Math.floor(name.length / 3)) ? best.candidate : null;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** One paragraph per key: name, environment variable, default and meaning. */
export function describeConfig(): string {
  return configKeys()
    .map(({ path, description, defaultText, allowed }) => {
      const facts = [
        allowed.length > 0 ? allowed.join(' | ') : '',
        defaultText === null ? 'required' : `default ${defaultText}`,
        path.includes('*') ? '' : environmentName(path),
      ].filter((fact) => fact !== '');
      return `  ${path.join('.').replace('*', 'NAME')}\n      ${description ? `${description}  ` : ''}[${facts.join('; ')}]\n`;
    })
    .join('');
}
