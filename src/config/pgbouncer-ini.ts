/** Reads PgBouncer's configuration file: sections, keys, `%include`, and the connection strings in it. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { FairleadError, messageOf } from '../core/errors.ts';

export type IniEntry = {
  readonly key: string;
  readonly value: string /** `pgbouncer.ini:12` */;
  readonly where: string;
};

export type PgbouncerIni = {
  readonly databases: readonly IniEntry[];
  readonly users: readonly IniEntry[];
  readonly peers: readonly IniEntry[];
  readonly pgbouncer: readonly IniEntry[];
};

const MAX_DEPTH = 10;

/** @throws FairleadError bad_arguments with file and line for what PgBouncer would not read either */
export function readPgbouncerIni(file: string): PgbouncerIni {
  const sections = new Map<string, IniEntry[]>();
  readInto(file, sections, { name: null }, 0);
  const of = (name: string) => sections.get(name) ?? [];
  return { databases: of('databases'), users: of('users'), peers: of('peers'), pgbouncer: of('pgbouncer') };
}

/** `section` goes on from the including file into the included one, and back. */
function readInto(
  file: string,
  sections: Map<string, IniEntry[]>,
  section: { name: string | null },
  depth: number,
): void {
  const fail = (line: number, text: string): never => {
    throw new FairleadError('bad_arguments', `${file}:${line}: ${text}`, 'give a configuration file of PgBouncer');
  };
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new FairleadError('bad_arguments', `${file}: ${messageOf(error)}`, 'give a configuration file of PgBouncer');
  }
  let number = 0;
  for (const raw of text.split(/\r?\n/)) {
    number++;
    const line = raw.trim();
    if (line === '' || line.startsWith(';') || line.startsWith('#')) continue;
    const included = /^%include\s+(.+)$/.exec(line);
    const header = /^\[(\w+)\]$/.exec(line);
    const entry = /^(?:"((?:[^"]|"")*)"|([^=\s]+))\s*=\s*(.*)$/.exec(line);
    if (included !== null) {
      if (depth >= MAX_DEPTH) fail(number, 'files include each other too deeply');
      readInto(resolve(dirname(file), (included[1] as string).trim()), sections, section, depth + 1);
    } else if (header !== null) section.name = (header[1] as string).toLowerCase();
    else if (entry === null || section.name === null) fail(number, `not a section, a key or an include: ${line}`);
    else {
      const key = entry[1]?.replaceAll('""', '"') ?? (entry[2] as string);
      const entries = sections.get(section.name) ?? [];
      sections.set(section.name, entries);
      entries.push({ key, value: (entry[3] as string).trim(), where: `${file}:${number}` });
    }
  }
}

/** `host=a port=1 password='it''s'`: keys in lower case. @throws FairleadError bad_arguments */
export function readConnectionString({ key, value, where }: IniEntry): Map<string, string> {
  const pairs = new Map<string, string>();
  const pair = /\s*(\w+)\s*=\s*(?:'((?:[^']|'')*)'|([^\s']*))(?=\s|$)/gy;
  let end = 0;
  for (let match = pair.exec(value); match !== null; match = pair.exec(value)) {
    pairs.set((match[1] as string).toLowerCase(), match[2]?.replaceAll("''", "'") ?? (match[3] as string));
    end = pair.lastIndex;
  }
  if (value.slice(end).trim() === '') return pairs;
  const text = `${where}: ${key}: not a connection string from here on: ${value.slice(end).trim().slice(0, 20)}`;
  throw new FairleadError('bad_arguments', text, 'correct it');
}

/** A list as PgBouncer separates it. */
export function readList(text: string): string[] {
  return text.split(/[\s,]+/).filter((item) => item !== '');
}
