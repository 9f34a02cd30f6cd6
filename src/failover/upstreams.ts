import type { ControlTarget } from '../backend/control-connection.ts';
import { type Mark, splitMark } from '../cluster/mark.ts';
import { type Conninfo, formatConninfo, parseConninfo, redirect } from './conninfo.ts';
import type { ControlNodes } from './control-nodes.ts';

/** Where a replica is turned to, or was before a change of primary marked it. */
export type Upstream = { readonly conninfo: string; readonly slotName: string };

/** The same with the mark; `conninfo` may be empty. */
export type Turned = Upstream & { readonly mark: Mark | null };

/**
 * Remembers where each replica was last turned to: credentials and TLS settings of the replication user are nowhere else. What a change of
 * primary makes of the setting meanwhile does not count.
 */
export class Upstreams {
  readonly #known = new Map<string, Upstream>();

  of(node: string): Upstream | null {
    return this.#known.get(node) ?? null;
  }

  /** Reads the node's present setting. @returns null when it is turned to nobody, or may not be read. @throws ControlError */
  async read(nodes: ControlNodes, node: string, timeoutMs: number): Promise<Upstream | null> {
    const { conninfo, slotName } = await this.turned(nodes, node, timeoutMs);
    return conninfo === '' ? null : { conninfo, slotName };
  }

  /** The same with what a change of primary that is not complete made of it. @throws ControlError */
  async turned(nodes: ControlNodes, node: string, timeoutMs: number): Promise<Turned> {
    const rows = await nodes.query<{ conninfo: string | null; slot: string | null }>(node, READ, [], timeoutMs);
    const { original: conninfo, mark } = splitMark(rows[0]?.conninfo ?? '');
    const slotName = mark?.kind === 'forward' ? mark.detail : (rows[0]?.slot ?? '');
    if (conninfo !== '') this.#known.set(node, { conninfo, slotName });
    return { conninfo, slotName, mark };
  }

  /** The connection string by which `node` reaches `primary`: its own of before, else a sibling's, else our own login. */
  towards(node: string, primary: ControlTarget, own: ControlTarget): string {
    const template = this.#template(node) ?? loginOf(own);
    const known = this.#known.get(node)?.conninfo;
    if (known !== undefined && isReady(template, primary)) return known;
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

/** Whether a `primary_conninfo` names this server, in these words. */
export function leadsTo(conninfo: string, { host, port }: Pick<ControlTarget, 'host' | 'port'>): boolean {
  try {
    const info = new Map(parseConninfo(conninfo));
    return info.get('host') === host && (info.get('port') ?? '5432') === String(port);
  } catch {
    return false;
  }
}

/** It is turned there already: then its text is left as whoever wrote it did. */
function isReady(info: Conninfo, { host, port }: ControlTarget): boolean {
  return info.get('host') === host && info.get('port') === String(port) && info.has('application_name');
}

function loginOf(target: ControlTarget): Conninfo {
  const info = new Map([['user', target.user]]);
  if (target.password !== null) info.set('password', target.password);
  // the files of cluster.tls are not on the replica's machine: it encrypts, and verifies by its own root certificate where it has one
  if (!/^(disable|allow|prefer)$/.test(target.tls.mode)) info.set('sslmode', 'require');
  return info;
}
