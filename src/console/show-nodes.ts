import { nodeView } from '../api/cluster-view.ts';
import { wallMs } from '../core/clock.ts';
import { show } from './command.ts';

export const SHOW_NODES = show({
  name: 'NODES',
  help: 'nodes: role, state and why, lag, whether commits wait for it, who feeds whom',
  columns: {
    name: 'text',
    address: 'text',
    role: 'text',
    state: 'text',
    reason: 'text',
    condition: 'text',
    assigned: 'text',
    readable: 'text',
    timeline: 'int8',
    replay_lsn: 'text',
    lag_bytes: 'int8',
    lag_ms: 'float8',
    upstream: 'text',
    zone: 'text',
    weight: 'float8',
    promotable: 'text',
    server_version: 'text',
    answered_ms_ago: 'int8',
    sync: 'text',
  },
  rows: ({ cluster }) =>
    cluster.topology.value.nodes.map((node) => {
      const view = nodeView(cluster, node);
      return {
        name: view.name,
        address: view.address,
        role: view.role,
        state: view.state,
        reason: view.reason,
        condition: view.condition,
        assigned: yesNo(view.assigned),
        readable: yesNo(view.readable),
        timeline: view.timeline,
        replay_lsn: view.replayLsn,
        lag_bytes: view.lag.bytes,
        lag_ms: view.lag.ms,
        upstream: view.receiver?.upstream ?? view.receiver?.sender ?? null,
        zone: view.zone,
        weight: view.weight,
        promotable: yesNo(view.promotable),
        server_version: view.serverVersion,
        answered_ms_ago: view.answeredAt === null ? null : Math.max(0, wallMs() - view.answeredAt),
        sync: view.sync,
      };
    }),
});

function yesNo(value: boolean): string {
  return value ? 'yes' : 'no';
}
