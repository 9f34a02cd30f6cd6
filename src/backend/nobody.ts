import type { ExchangeOwner } from './exchange.ts';

/** Owner of an exchange whose replies nobody waits for any more. */
export const NOBODY: ExchangeOwner = Object.freeze({
  reply() {},
  copyIn() {},
  finished() {},
  refused() {},
  lost() {},
});
