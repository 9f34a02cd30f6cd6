import type { Hint } from './verdict.ts';

const UNIT_MS: Record<string, number> = { us: 0.001, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * What a `fairlead:` comment asks for: `primary`, `replica`, `max_staleness=5s`, separated by commas or spaces.
 * Words it does not know are ignored, as comments are. `primary` wins over `replica`. Null when nothing is left.
 */
export function parseHint(comment: string): Hint | null {
  const body = /^\/\*\s*fairlead:(.*?)\*\/$/is.exec(comment)?.[1];
  if (body === undefined) return null;
  let target: Hint['target'] = null;
  let maxStalenessMs: number | null = null;
  for (const item of body.toLowerCase().split(/[\s,]+/)) {
    if (item === 'primary') target = 'primary';
    else if (item === 'replica') target ??= 'replica';
    else if (item.startsWith('max_staleness=')) {
      const match = /^(\d+(?:\.\d+)?)(us|ms|s|min|h|d)?$/.exec(item.slice(14));
      if (match !== null) maxStalenessMs = Number(match[1]) * (UNIT_MS[match[2] ?? 'ms'] as number);
    }
  }
  return target === null && maxStalenessMs === null ? null : { target, maxStalenessMs };
}
