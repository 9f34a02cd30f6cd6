import { SILENT } from '../core/log.ts';
import { migrate as migrateStore } from '../store/migrate.ts';
import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';
import { CONFIG_OPTIONS, configFrom } from './config-options.ts';

export const migrate: Command = async (args, { print, environment }) => {
  const { values } = parseOptions(args, { ...CONFIG_OPTIONS, json: { type: 'boolean' } } as const);
  // silent: what it would log stands in the report
  const { primary, applied, warnings } = await migrateStore(configFrom(values, environment), SILENT);
  if (values.json) print(JSON.stringify({ primary, applied, warnings }));
  else {
    for (const name of applied) print(`applied ${name} on ${primary}`);
    if (applied.length === 0) print(`schema fairlead on ${primary} is up to date`);
    for (const warning of warnings) print(`warning: ${warning}`);
  }
  return 0;
};
