import type { ControlTarget } from '../backend/control-connection.ts';
import { type Conninfo, formatConninfo, parseConninfo, redirect } from './conninfo.ts';
import type { ControlNodes } from './control-nodes.ts';

/** Where a replica is turned to. */
export type Upstream = { readonly conninfo: string; readonly slotName: string };

/**
 * Remembers where each replica was last turned to, because freezing it empties the setting: credentials and TLS settings of the
 * replication user are nowhere else.
 */
export class Upstreams {
  readonly #known = new Map<string, Upstream>();

  of(node: string): Upstream | null {
    return this.#known.get(node) ?? null;
  }

  /** Reads the node's present setting. @returns null when it is turned to nobody, or may not be read. @throws ControlError */
  async read(nodes: ControlNodes, node: string, timeoutMs: number): Promise<Upstream | null> {
    const rows = await nodes.query<{ conninfo: string | null; slot: string | null }>(node, READ, [], timeoutMs);
    const conninfo = rows[0]?.conninfo ?? '';
    if (conninfo === '') return null;
    const upstream = { conninfo, slotName: rows[0]?.slot ?? '' };
    this.#known.set(node, upstream);
    return upstream;
  }

  /** The connection string by which `node` reaches `primary`: its own of before, else a sibling's, else our own login. */
  towards(node: string, primary: ControlTarget, own: ControlTarget): string {
    const template = this.#template(node) ?? loginOf(own);
    return formatConninfo(redirect(template, primary.host, primary.port, node));
  }

  #template(node: string): Conninfo | null {
    for (const upstream of [this.#known.get(node), ...this.#known.values()]) {
      if (upstream === undefined) continue;
      try {
        const info = new Map(parseConninfo(upstream.conninfo));
        if (upstream !== this.#known.get(node)) info.delete('application_name');
        return info;
      } catch {
        // an odd string of somebody's own making: the next one may do
      }
    }
    return null;
  }
}

/** `pg_settings` hides the setting from roles without pg_read_all_settings; `current_setting` would raise an error. */
const READ = `SELECT (SELECT setting FROM pg_settings WHERE name = 'primary_conninfo') AS conninfo,
  (SELECT setting FROM pg_settings WHERE name = 'primary_slot_name') AS slot`;

function loginOf(target: ControlTarget): Conninfo {
  const info = new Map([['user', target.user]]);
  if (target.password !== null) info.set('password', target.password);
  // the files of cluster.tls are not on the replica's machine: it encrypts, and verifies by its own root certificate where it has one
  if (!/^(disable|allow|prefer)$/.test(target.tls.mode)) info.set('sslmode', 'require');
  return info;
}
