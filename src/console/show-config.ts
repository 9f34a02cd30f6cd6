import { type Config, configSchema } from '../config/config.ts';
import { isLive, isSecret } from '../config/difference.ts';
import { configKeys, type Key, textOf } from '../config/keys.ts';
import { PGBOUNCER_KEYS, theirText } from '../config/pgbouncer-keys.ts';
import { show } from './command.ts';

/** https://www.pgbouncer.org/usage.html#show-config. Secrets are never shown, only whether there is one. */
export const SHOW_CONFIG = show({
  name: 'CONFIG',
  help: 'the configuration in force; secrets are not shown',
  columns: { key: 'text', value: 'text', default: 'text', changeable: 'text' },
  rows: ({ config }, { asPgbouncer }) => [...(asPgbouncer ? theirs(config()) : []), ...settingsOf(config())],
});

type Setting = {
  readonly key: string;
  readonly value: string | null;
  readonly default: string | null;
  readonly changeable: string;
};

/** PgBouncer's names first, for programs that look for them; its values are in its units. */
function theirs(config: Config): Setting[] {
  const defaults = configSchema.shape.pool.parse(undefined);
  return PGBOUNCER_KEYS.map((key) => ({
    key: key.name,
    value: theirText(key, config),
    default: theirText(key, { ...config, pool: defaults }),
    changeable: 'yes',
  }));
}

function settingsOf(config: Config): Setting[] {
  return configKeys()
    .filter((key) => key.kind !== 'map')
    .flatMap((key) => pathsOf(key, config).map((path) => settingAt(key, path, config)));
}

/** The key's own path, or one for each name that the user chose where it has a `*`. */
function pathsOf({ path }: Key, config: Config): readonly (readonly string[])[] {
  const star = path.indexOf('*');
  if (star === -1) return [path];
  return Object.keys(valueAt(config, path.slice(0, star)) as object).map((name) => path.with(star, name));
}

function settingAt(key: Key, path: readonly string[], config: Config): Setting {
  return {
    key: path.join('.'),
    value: shown(path, valueAt(config, path)),
    default: key.defaultText,
    changeable: isLive(path.join('.')) ? 'yes' : 'no',
  };
}

function shown(path: readonly string[], value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (isSecret(path.join('.'))) return '********';
  return Array.isArray(value) ? value.join(', ') : textOf(path, value);
}

function valueAt(config: Config, path: readonly string[]): unknown {
  let value: unknown = config;
  for (const name of path) value = (value as Record<string, unknown> | null)?.[name];
  return value;
}
