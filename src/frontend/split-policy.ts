import type { StartHost } from './movable-start.ts';
import type { Known } from './placement-request.ts';
import type { Services } from './services.ts';
import type { Client } from './session.ts';

type Session = Pick<Known, 'memory' | 'settings' | 'options' | 'causality'>;

/** Whether transactions of a session may begin on a replica though they may write. */
export function splitPolicy(
  client: Client,
  { cluster, config, elsewhereIsolated }: Services,
  session: Session,
): StartHost {
  const key = `${client.database}\0${client.identity.user}`;
  return {
    get maySplit() {
      if (config().routing.transactions !== 'split' || elsewhereIsolated.has(key)) return false;
      const { memory, settings, options } = session;
      if (options.maxStalenessMs !== null) return false;
      if (memory.pinned !== null || memory.primaryOnly || settings.now.mode !== 'transaction') return false;
      return (memory.settings.values.get('default_transaction_isolation') ?? 'read committed') === 'read committed';
    },
    seesEnough(floor) {
      const { options, causality } = session;
      if (options.maxStalenessMs !== null) return false;
      const consistency = options.consistencyOfReads(config().routing.consistency);
      if (consistency === 'eventual') return true;
      const settled = causality.settle(cluster, cluster.topology.value.timeline);
      return consistency === 'session' && settled && floor !== null && causality.floor <= floor;
    },
    cannotSplit: () => void elsewhereIsolated.add(key),
  };
}
