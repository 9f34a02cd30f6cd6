import { formatLsn } from '../core/lsn.ts';
import { show } from './command.ts';

/** Reads of replicas that were checked against the facts (`routing.audit`). */
export const SHOW_AUDIT = show({
  name: 'AUDIT',
  help: 'reads on replicas that were checked: how many saw what they must have',
  columns: {
    passed: 'int8',
    violations: 'int8',
    undecided: 'int8',
    last_node: 'text',
    last_replayed: 'text',
    last_floor: 'text',
    last_reads: 'text',
    last_why: 'text',
  },
  rows: ({ cluster: { audit } }) => [
    {
      passed: audit.passed,
      violations: audit.violations,
      undecided: audit.undecided,
      last_node: audit.last?.node ?? null,
      last_replayed: audit.last === null ? null : formatLsn(audit.last.replayed),
      last_floor: audit.last === null ? null : formatLsn(audit.last.floor),
      last_reads: audit.last?.names.join(', ') ?? null,
      last_why: audit.last?.why ?? null,
    },
  ],
});
