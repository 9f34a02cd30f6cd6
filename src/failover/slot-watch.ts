import type { ControlTarget } from '../backend/control-connection.ts';
import { type Config, followsOthers } from '../config/config.ts';
import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { ControlNodes } from './control-nodes.ts';
import { judgeSlot, type Slot, type Verdict } from './judge-slot.ts';
import { slotNameFor } from './repoint.ts';

const ROUND_MS = 5000;
const STATEMENT_MS = 4000;

const SLOTS = `SELECT slot_name AS name, slot_type AS kind, active, active_pid AS pid, wal_status AS status,
    safe_wal_size::float8 AS safe, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8 AS kept
  FROM pg_replication_slots ORDER BY 1`;

type Row = Omit<Slot, 'safeBytes' | 'keptBytes'> & { readonly safe: number | null; readonly kept: number | null };

export type SlotWatchDeps = {
  readonly config: Config;
  readonly log: Log;
  /** Of the configured nodes. */
  names(): readonly string[];
  target(node: string): ControlTarget;
  /** The assigned primary, at rest; null: there is nothing to look at. */
  primary(): string | null;
  event(kind: string, message: string, detail: object & { readonly node: string | null }): void;
};

/**
 * Looks at the replication slots of the primary: one that nobody reads keeps WAL until the disk is full. Each change for the worse is an event
 * that says what to do; dropping is for those who asked for it (`slots.drop_at`).
 */
export class SlotWatch {
  readonly #deps: SlotWatchDeps;
  readonly #nodes: ControlNodes;
  /** What was told of each slot of `#primary`. */
  readonly #told = new Map<string, Verdict>();
  #primary: string | null = null;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | null = null;
  #failed = '';

  constructor(deps: SlotWatchDeps) {
    this.#deps = deps;
    this.#nodes = new ControlNodes(deps.target);
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = null;
      });
    }, ROUND_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#nodes.close();
    await this.#looking;
  }

  async #look(): Promise<void> {
    const primary = this.#deps.primary();
    if (primary !== this.#primary) this.#told.clear();
    this.#primary = primary;
    if (primary === null) return;
    try {
      const rows = await this.#nodes.query<Row>(primary, SLOTS, [], STATEMENT_MS);
      for (const { safe, kept, ...row } of rows)
        await this.#judge(primary, { ...row, safeBytes: safe, keptBytes: kept });
      const there = new Set(rows.map(({ name }) => name));
      for (const name of this.#told.keys()) if (!there.has(name)) this.#told.delete(name);
      this.#failed = '';
    } catch (error) {
      const text = messageOf(error);
      if (text !== this.#failed) this.#deps.log.info({ node: primary, error: text }, 'replication slots not seen');
      this.#failed = text;
    }
  }

  async #judge(primary: string, slot: Slot): Promise<void> {
    const { config, event } = this.#deps;
    const { warn_at: warnAtBytes, drop_at } = config.slots;
    // with failover off nothing on a server is changed
    const dropAtBytes = followsOthers(config) ? null : drop_at;
    const verdict = judgeSlot(slot, { warnAtBytes, dropAtBytes });
    const node = this.#ownerOf(slot);
    const detail = { node, primary, slot: slot.name, keptBytes: slot.keptBytes, safeBytes: slot.safeBytes };
    if (verdict === 'drop') {
      await this.#nodes.query(
        primary,
        'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active',
        [slot.name],
        STATEMENT_MS,
      );
      event('slot-dropped', `${this.#what(slot, primary)}: dropped at slots.drop_at; ${cloneIt(node)}`, detail);
      return;
    }
    if (verdict === 'end its reader') {
      await this.#nodes.query(primary, 'SELECT pg_terminate_backend($1)', [slot.pid], STATEMENT_MS);
      event('slot-stalled', `${this.#what(slot, primary)}: Fairlead's own stream stands still, it begins anew`, detail);
      return;
    }
    const before = this.#told.get(slot.name) ?? 'fine';
    this.#told.set(slot.name, verdict);
    if (verdict === before) return;
    if (verdict === 'fine')
      return event('slot-recovered', `slot ${slot.name} on ${primary} keeps little WAL again`, detail);
    const remedy = verdict === 'lost' ? cloneIt(node) : this.#remedy(slot, node);
    event(KINDS[verdict], `${this.#what(slot, primary)}: ${remedy}`, detail);
  }

  #what(slot: Slot, primary: string): string {
    const { name, active, status, keptBytes, safeBytes } = slot;
    const whose = `slot ${name} on ${primary} (${active ? 'in use' : 'nobody uses it'})`;
    if (status === 'lost' || keptBytes === null) return `${whose} has lost WAL that its reader still needs`;
    const left = safeBytes === null ? '' : `, and loses it after ${megabytes(Math.max(0, safeBytes))} more`;
    return `${whose} keeps ${megabytes(keptBytes)} of WAL${left}`;
  }

  #remedy({ active, kind, name }: Slot, node: string | null): string {
    if (active) return 'its reader is slow: look at its network and disk';
    const drop = `SELECT pg_drop_replication_slot('${name}')`;
    if (kind === 'logical') return `start its reader, or ${drop}`;
    return `start ${node ?? 'its follower'}, or ${drop} and clone it later`;
  }

  /** The configured node that streams from a slot of that name. */
  #ownerOf({ name }: Slot): string | null {
    return this.#deps.names().find((node) => name === slotNameFor(node, '') || name === plain(node)) ?? null;
  }
}

const KINDS = { 'keeps much': 'slot-keeps-wal', 'about to lose': 'slot-at-risk', lost: 'slot-lost' } as const;

const plain = (node: string) => node.toLowerCase().replace(/[^a-z0-9_]/g, '_');

function cloneIt(node: string | null): string {
  return node === null
    ? 'whoever used it has to begin anew'
    : `${node} has to be cloned: fairlead rejoin ${node} --clone`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(bytes < 10 * 1024 ** 2 ? 1 : 0)} MB`;
}
