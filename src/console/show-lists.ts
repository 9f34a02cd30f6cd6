import { show } from './command.ts';
import { databaseNames } from './show-databases.ts';
import { userNames } from './show-users.ts';

/** https://www.pgbouncer.org/usage.html#show-lists; from `nodes` on the lines are ours. */
export const SHOW_LISTS = show({
  name: 'LISTS',
  help: 'how many there are of everything',
  columns: { list: 'text', items: 'int4' },
  rows(console) {
    const pools = [...console.pools.all()];
    const sessions = [...console.sessions.all()];
    const { errors, retries } = console.traffic.snapshot();
    const counts: readonly (readonly [string, number])[] = [
      ['databases', databaseNames(console).length],
      ['users', userNames(console).length],
      ['peers', 0],
      ['pools', pools.length],
      ['peer_pools', 0],
      ['free_clients', 0],
      ['used_clients', console.clients()],
      ['login_clients', Math.max(0, console.clients() - sessions.length - console.consoles.size)],
      ['free_servers', pools.reduce((sum, pool) => sum + pool.idleCount, 0)],
      ['used_servers', pools.reduce((sum, pool) => sum + pool.activeCount, 0)],
      ['dns_names', 0],
      ['dns_zones', 0],
      ['dns_queries', 0],
      ['dns_pending', 0],
      ['nodes', console.cluster.nodes.length],
      ['readable_replicas', console.cluster.topology.value.replicas.length],
      ['waiting_clients', sessions.filter((s) => s.state === 'waiting').length],
      ['held_clients', console.holdRoom.size],
      ['pinned_clients', sessions.filter((s) => s.pinned !== null).length],
      ['errors', errors.total],
      ['retries', retries.total],
    ];
    return counts.map(([list, items]) => ({ list, items }));
  },
});
