import type { StartHost } from './movable-start.ts';
import type { Services } from './services.ts';
import type { Client } from './session.ts';
import type { SessionMemory } from './session-memory.ts';
import type { SessionSettings } from './session-settings.ts';

type Session = { readonly memory: SessionMemory; readonly settings: SessionSettings };

/** Whether transactions of a session may begin on a replica though they may write. */
export function splitPolicy(client: Client, { config, elsewhereIsolated }: Services, session: Session): StartHost {
  const key = `${client.database}\0${client.identity.user}`;
  return {
    get maySplit() {
      if (config().routing.transactions !== 'split' || elsewhereIsolated.has(key)) return false;
      const { memory, settings } = session;
      if (memory.pinned !== null || memory.primaryOnly || settings.now.mode !== 'transaction') return false;
      return (memory.settings.values.get('default_transaction_isolation') ?? 'read committed') === 'read committed';
    },
    cannotSplit: () => void elsewhereIsolated.add(key),
  };
}
