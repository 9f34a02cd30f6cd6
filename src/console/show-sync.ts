import { copiesOf, quorumInWords } from '../failover/sync/quorum.ts';
import { show } from './command.ts';

/** One row: what is configured, what holds, what the primary has. */
export const SHOW_SYNC = show({
  name: 'SYNC',
  help: 'synchronous replication: what is configured, which followers have every acknowledged commit',
  columns: {
    mode: 'text',
    copies: 'int4',
    degrade: 'text',
    state: 'text',
    confirmed_copies: 'int4',
    confirmed: 'text',
    setting: 'text',
    reason: 'text',
  },
  rows: ({ cluster }) => {
    const synchrony = cluster.synchrony.value;
    if (synchrony === null) return [];
    const { mode, copies, degrade, state, guarantee, setting, reason } = synchrony;
    const confirmed = guarantee?.map(quorumInWords).join('; or ') ?? null;
    const confirmed_copies = guarantee === null ? null : copiesOf(guarantee);
    return [{ mode, copies, degrade, state, confirmed_copies, confirmed, setting, reason }];
  },
});
