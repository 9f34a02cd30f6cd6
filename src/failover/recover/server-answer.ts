import { messageOf } from '../../core/errors.ts';

/** The server's own error, and the connection goes on. */
export function isAnswer(error: unknown): boolean {
  const code = (error as { code?: string }).code ?? '';
  return /^[0-9A-Z]{5}$/.test(code) && !/^(57P|08|EPIPE)/.test(code) && 'severity' in (error as object);
}

/** Data exceptions and integrity violations: what the values themselves are refused for, on any other day too. */
export function refusesValues(error: unknown): boolean {
  return /^2[23]/.test((error as { code: string }).code);
}

export function textOf(error: unknown): string {
  const { detail } = error as { detail?: string };
  return `${messageOf(error)}${detail === undefined ? '' : `: ${detail}`}`;
}
