/**
 * The text of `synchronous_standby_names`.
 * https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONOUS-STANDBY-NAMES
 */
import type { Quorum } from '../../cluster/synchrony.ts';
import { FENCE_NAME } from '../fence.ts';
import { CLOSED, NOBODY } from './quorum.ts';

/** A name that no standby has. In front of the others it moves their priorities, so that it shows which walsender has read the setting. */
const MARKER = 'fairlead_change';

export type StandbyNames = {
  readonly method: 'FIRST' | 'ANY';
  readonly quorum: Quorum;
  /** How many markers stand in front. */
  readonly markers: number;
};

/** Holds every commit back. */
export const NO_ACKNOWLEDGEMENT = `FIRST 1 ("${MARKER}")`;

export function formatNames({ method, quorum, markers }: StandbyNames): string {
  if (quorum.copies === 0) return '';
  const names = [...Array<string>(markers).fill(MARKER), ...quorum.nodes];
  return `${method} ${quorum.copies} (${names.map((name) => `"${name.replaceAll('"', '""')}"`).join(', ')})`;
}

const TEXT = /^\s*(?:(?:(FIRST|ANY)\s+)?(\d+)\s*\((.*)\)|(.*))\s*$/is;
const NAME = /\s*(?:"((?:[^"]|"")*)"|([^\s,"()]+))\s*(?:,|$)/gy;

/** @param nodes names as configured: the server compares them whatever their case. @returns null for what guarantees nothing we know */
export function parseNames(text: string, nodes: readonly string[]): StandbyNames | null {
  if (text.trim() === '') return { method: 'FIRST', quorum: NOBODY, markers: 0 };
  if (text.includes(FENCE_NAME)) return { method: 'FIRST', quorum: CLOSED, markers: 0 };
  const match = TEXT.exec(text);
  if (match === null) return null;
  const list = (match[3] ?? match[4] ?? '').trim();
  const names: string[] = [];
  NAME.lastIndex = 0;
  while (NAME.lastIndex < list.length) {
    const name = NAME.exec(list);
    if (name === null) return null;
    names.push((name[1]?.replaceAll('""', '"') ?? name[2] ?? '').toLowerCase());
  }
  if (names.includes('*')) return null;
  const members = names.filter((name) => name !== MARKER);
  const known = members.map((name) => nodes.find((node) => node.toLowerCase() === name) ?? name);
  return {
    method: match[1]?.toUpperCase() === 'ANY' ? 'ANY' : 'FIRST',
    quorum: { copies: match[2] === undefined ? 1 : Number(match[2]), nodes: [...new Set(known)] },
    markers: names.length - members.length,
  };
}

/** `sync_priority` that a walsender of that name has once it has read the setting; 0: it does not count. */
export function priorityOf(names: StandbyNames, name: string): number {
  const index = names.quorum.nodes.findIndex((node) => node.toLowerCase() === name.toLowerCase());
  if (index < 0 || names.quorum.copies === 0) return 0;
  return names.method === 'ANY' ? 1 : names.markers + index + 1;
}
