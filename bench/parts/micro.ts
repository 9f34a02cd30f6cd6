/** Single operations without servers. */
import { classifierCosts } from '../micro/classifier.ts';
import { commitCosts } from '../micro/commits.ts';
import { frameReaderCosts } from '../micro/frame-reader.ts';
import { routingCosts } from '../micro/routing.ts';
import type { Plan } from '../plan.ts';
import { digits, table } from '../table.ts';
import type { Section } from './section.ts';

export async function micro({ microMs }: Plan): Promise<Section> {
  const classifier = (await classifierCosts(microMs)).map(({ text, keyNs, hitNs, missNs }) => {
    return [text, digits(keyNs), digits(hitNs), digits(missNs)];
  });
  const costs = [...frameReaderCosts(microMs), ...routingCosts(microMs), ...(await commitCosts(microMs))];
  const lines = [
    ...table([['operation', 'ns'], ...costs.map(({ operation, ns }) => [operation, digits(ns)])]),
    '',
    ...table([['classify', 'key, ns', 'hit, ns', 'miss, ns'], ...classifier]),
  ];
  return { title: `Single operations, Node ${process.version}`, lines };
}
