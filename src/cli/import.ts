import { writeFileSync } from 'node:fs';
import { importPgbouncer } from '../config/pgbouncer-import.ts';
import { readPgbouncerIni } from '../config/pgbouncer-ini.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';

const OPTIONS = { output: { type: 'string', short: 'o' } } as const;

export const importCommand: Command = async (args, { print, note }) => {
  const { values, words } = parseOptions(args, OPTIONS, 1);
  const file = words[0];
  if (file === undefined) throw new FairleadError('bad_arguments', 'name the file: fairlead import pgbouncer.ini');
  const { yaml, remarks } = importPgbouncer(readPgbouncerIni(file), file);
  if (values.output === undefined) {
    print(yaml.trimEnd());
    return 0;
  }
  try {
    // passwords may be in it; what is there already is somebody's work
    writeFileSync(values.output, yaml, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST';
    const text = exists ? `${values.output} exists already` : `cannot write ${values.output}: ${messageOf(error)}`;
    throw new FairleadError('bad_arguments', text, 'choose another --output, or remove it');
  }
  for (const remark of remarks) note(remark);
  note(`written: ${values.output}; \`fairlead check -c ${values.output}\` looks at the servers`);
  return 0;
};
