import { type SettingsSet, settingsSet } from '../backend/settings-set.ts';
import { FairleadError } from '../core/errors.ts';
import { Causality } from '../routing/causality.ts';
import { CausalityKeys } from '../routing/causality-keys.ts';
import { readOptions } from '../wire/startup.ts';
import { SessionOptions } from './session-options.ts';

export type StartupSettings = { readonly settings: SettingsSet; readonly options: (readonly [string, string])[] };

const NOT_SETTINGS = new Set(['user', 'database', 'options', 'replication']);
const UTF8 = /^['"]?(utf-?8|unicode|auto)['"]?$/i;

/** What a startup packet says beside who wants to log in where. @throws FairleadError bad_parameter */
export function startupSettings(parameters: ReadonlyMap<string, string>): StartupSettings {
  const given = readOptions(parameters.get('options') ?? '');
  if (given === null) {
    throw new FairleadError(
      'bad_parameter',
      'connection parameter options has more than settings',
      'write -c name=value only',
    );
  }
  const values = new Map<string, string>();
  const options: (readonly [string, string])[] = [];
  for (const [written, value] of [...parameters].filter(([name]) => !NOT_SETTINGS.has(name)).concat([...given])) {
    const name = written.toLowerCase();
    if (name.startsWith('_pq_.')) continue;
    if (name.startsWith('fairlead.')) options.push([name.slice('fairlead.'.length), value]);
    // what server connections have anyway
    else if (name !== 'client_encoding' || !UTF8.test(value)) values.set(name, value);
  }
  const probe = new SessionOptions(new CausalityKeys(false));
  for (const [name, value] of options) {
    if (name !== 'token') probe.set(name, value, false);
    else if (!Causality.isToken(value)) throw new FairleadError('bad_parameter', `invalid token "${value}"`);
  }
  return { settings: settingsSet(values), options };
}
