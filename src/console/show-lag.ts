import { lsnText, nodeView } from '../api/cluster-view.ts';
import { show } from './command.ts';

export const SHOW_LAG = show({
  name: 'LAG',
  help: 'how far each node is behind the primary, in bytes and in milliseconds',
  columns: {
    node: 'text',
    role: 'text',
    state: 'text',
    lag_bytes: 'int8',
    lag_ms: 'float8',
    primary_lsn: 'text',
    receive_lsn: 'text',
    replay_lsn: 'text',
    replay_paused: 'text',
    receiver_silent_ms: 'float8',
  },
  rows: ({ cluster }) =>
    cluster.topology.value.nodes.map((node) => {
      const view = nodeView(cluster, node);
      return {
        node: view.name,
        role: view.role,
        state: view.state,
        lag_bytes: view.lag.bytes,
        lag_ms: view.lag.ms,
        primary_lsn: lsnText(cluster.primaryLsn()),
        receive_lsn: view.receiveLsn,
        replay_lsn: view.replayLsn,
        replay_paused: view.replayPaused ? 'yes' : 'no',
        receiver_silent_ms: view.receiver?.silentMs ?? null,
      };
    }),
});
