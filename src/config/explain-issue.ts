import type { z } from 'zod';
import { configKeys, nearest } from './keys.ts';

type Issue = z.core.$ZodIssue;

/** Turns what the declaration found wrong into one line that names the key and says what to write. */
export function explainIssues(issues: readonly Issue[], whereOf: (path: readonly string[]) => string): string {
  // a mistyped key often is why another one is missing: it comes first
  const first = issues.find((issue) => issue.code === 'unrecognized_keys') ?? issues[0];
  return first === undefined ? 'it is not valid' : explain(first, whereOf);
}

function explain(issue: Issue, whereOf: (path: readonly string[]) => string): string {
  const path = issue.path.map(String);
  const at = `${whereOf(path)}: `;
  const key = path.join('.');
  switch (issue.code) {
    case 'unrecognized_keys': {
      const name = issue.keys[0] ?? '';
      return `${at}unknown key ${[...path, name].join('.')}${suggestion(path, name)}`;
    }
    case 'invalid_key':
      return `${at}${key}: a name may hold letters, digits, "_", "." and "-", at most 48 of them`;
    case 'invalid_value':
      return `${at}${key}: write one of ${issue.values.join(', ')}`;
    case 'invalid_type':
      return isMissing(issue) ? missing(at, path) : `${at}${key || 'the file'}: write ${article(issue.expected)}`;
    case 'invalid_union':
      return isMissing(issue) ? missing(at, path) : `${at}${key}: write a text or a number`;
    case 'too_small':
      return `${at}${key}: write a larger number than ${issue.inclusive ? Number(issue.minimum) - 1 : issue.minimum}`;
    case 'too_big':
      return `${at}${key}: write at most ${issue.maximum}`;
    default:
      return `${at}${key}: ${issue.message}`;
  }
}

function isMissing(issue: Issue): boolean {
  if (issue.code === 'invalid_union') return issue.errors.every((inner) => inner.every(isMissing));
  return issue.code === 'invalid_type' && /received undefined$/.test(issue.message);
}

function missing(at: string, path: readonly string[]): string {
  const meaning = configKeys().find((key) => key.path.join('.') === path.join('.'))?.description;
  return `${at}${path.join('.')} is missing${meaning ? ` (${meaning})` : ''}`;
}

function article(type: string): string {
  const names: Record<string, string> = { object: 'a section of keys', record: 'a section of names', array: 'a list' };
  if (type === 'boolean') return 'true or false';
  return names[type] ?? (type === 'int' ? 'a whole number' : `a ${type === 'string' ? 'text' : type}`);
}

/** Names that could have been meant: siblings first, then the same name in another section. */
function suggestion(path: readonly string[], name: string): string {
  const matches = (known: readonly string[]) => path.every((part, i) => known[i] === part || known[i] === '*');
  const siblings = [
    ...new Set(
      configKeys()
        .filter((key) => key.path.length > path.length && matches(key.path))
        .map((key) => key.path[path.length] as string),
    ),
  ];
  const near = nearest(name, siblings);
  if (near !== null) return `; did you mean ${[...path, near].join('.')}?`;
  const elsewhere = configKeys().find((key) => key.path.at(-1) === name);
  if (elsewhere !== undefined) return `; it belongs at ${elsewhere.path.join('.').replace('*', 'NAME')}`;
  return `; known here: ${siblings.filter((known) => known !== '*').join(', ')}`;
}
