import { show } from './command.ts';
import { databaseNames } from './show-databases.ts';
import { userNames } from './show-users.ts';

/** https://www.pgbouncer.org/usage.html#show-lists; from `nodes` on the lines are ours. */
export const SHOW_LISTS = show({
  name: 'LISTS',
  help: 'how many there are of everything',
  columns: { list: 'text', items: 'int4' },
  rows(console) {
    const { clients, operators, sessions, pools } = console.plane.overview;
    const { errors, retries } = console.traffic.snapshot();
    const counts: readonly (readonly [string, number])[] = [
      ['databases', databaseNames(console).length],
      ['users', userNames(console).length],
      ['peers', 0],
      ['pools', pools.length],
      ['peer_pools', 0],
      ['free_clients', 0],
      ['used_clients', clients],
      ['login_clients', Math.max(0, clients - sessions.total - operators)],
      ['free_servers', pools.reduce((sum, pool) => sum + pool.idle, 0)],
      ['used_servers', pools.reduce((sum, pool) => sum + pool.active, 0)],
      ['dns_names', 0],
      ['dns_zones', 0],
      ['dns_queries', 0],
      ['dns_pending', 0],
      ['nodes', console.cluster.nodes.length],
      ['readable_replicas', console.cluster.topology.value.replicas.length],
      ['waiting_clients', sessions.waiting + sessions.held],
      ['held_clients', sessions.held],
      ['pinned_clients', sessions.pinned],
      ['errors', errors.total],
      ['retries', retries.total],
    ];
    return counts.map(([list, items]) => ({ list, items }));
  },
});
