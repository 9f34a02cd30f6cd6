import type { Verdict } from '../sql/verdict.ts';
import type { Work } from './work.ts';

/** Names of more are not looked for, nor in longer messages. */
const MAX_NAMES = 50;
const MAX_BYTES = 64 * 1024;

const CUSTOM_NAME = /[a-z_][\w$]*(?:\.[a-z_][\w$]*)+/gi;

/**
 * What may be names of custom settings in the texts and parameters of a request whose functions may set any: servers do not list them, so
 * they have to be asked for by name. Asking for one that does not exist does no harm.
 */
export function mentionedSettings(work: Work, verdicts: readonly Verdict[]): readonly string[] {
  if (!verdicts.some((verdict) => verdict.changesSettings && verdict.settingsByName === false)) return [];
  const names = new Set<string>();
  const messages = work.batch?.items().flatMap((item) => [item.raw, item.statement?.prepared.body ?? null]) ?? [];
  for (const bytes of [work.raw, ...messages]) {
    if (bytes === null || bytes.length > MAX_BYTES) continue;
    for (const [name] of bytes.toString('latin1').matchAll(CUSTOM_NAME)) {
      if (names.size < MAX_NAMES) names.add(name.toLowerCase());
    }
  }
  return [...names];
}
