import { show } from './command.ts';

export const SHOW_STATE = show({
  name: 'STATE',
  help: 'whether statements run, who is primary since which epoch, how commits reach us',
  columns: { key: 'text', value: 'text' },
  rows: ({ cluster, replication, plane }) => {
    const { paused, primary, epoch, phase, reason, timeline } = cluster.topology.value;
    const { mode, lastError } = replication.state.value;
    const facts: readonly (readonly [string, string])[] = [
      ['active', paused ? 'no' : 'yes'],
      ['paused', paused ? 'yes' : 'no'],
      ['suspended', 'no'],
      ['primary', primary?.name ?? ''],
      ['epoch', String(epoch)],
      ['timeline', String(timeline)],
      ['phase', phase],
      ['reason', reason],
      ['held', String(plane.overview.sessions.held)],
      ['replication', mode],
      ['replication_error', lastError ?? ''],
    ];
    return facts.map(([key, value]) => ({ key, value }));
  },
});
