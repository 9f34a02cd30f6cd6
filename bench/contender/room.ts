import type { Contender } from './contender.ts';

/** @throws Error saying why it cannot have so many clients. */
export function requireRoom({ mostClients, limitedBy }: Contender, clients: number): void {
  if (clients > mostClients) throw new Error(`not ${clients} clients: ${limitedBy}`);
}
