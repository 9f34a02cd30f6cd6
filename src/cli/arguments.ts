import { type ParseArgsConfig, parseArgs } from 'node:util';
import { FairleadError, messageOf } from '../core/errors.ts';

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<T extends Options> = ReturnType<typeof parseArgs<{ options: T }>>['values'];

/**
 * Parses a command's options and up to `most` words.
 * @throws FairleadError bad_arguments with one line.
 */
export function parseOptions<T extends Options>(
  args: readonly string[],
  options: T,
  most = 0,
): { values: Values<T>; words: string[] } {
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    if (positionals.length > most) throw new FairleadError('bad_arguments', `unexpected argument ${positionals[most]}`);
    return { values: values as Values<T>, words: positionals };
  } catch (error) {
    if (error instanceof FairleadError) throw error;
    // util.parseArgs explains at length; its first sentence says it
    throw new FairleadError('bad_arguments', (messageOf(error).split(/\. |\n/)[0] as string).replace(/\.$/, ''));
  }
}

/** A number of an option. @throws FairleadError bad_arguments when it is not a whole one within the bounds. */
export function wholeNumber(option: string, text: string, lowest: number, highest: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= lowest && value <= highest) return value;
  throw new FairleadError('bad_arguments', `${option} ${text}: write a whole number from ${lowest} to ${highest}`);
}
