/**
 * Makes a server follow the primary again, whatever happened to it: started, rewound, or cloned, by the agent beside it. All that it
 * knows it asks the servers, so that it is the same from a running Fairlead and from a command line.
 */
import { ControlError } from '../backend/control-connection.ts';
import { FairleadError, messageOf } from '../core/errors.ts';
import { bytesBetween, formatLsn, type Lsn, parseLsn } from '../core/lsn.ts';
import type { ControlNodes } from '../failover/control-nodes.ts';
import { readHistory, TIMELINE_OF_PRIMARY } from '../failover/inspect.ts';
import { ensureSlot, STREAMS, slotNameFor } from '../failover/repoint.ts';
import { until } from '../failover/until.ts';
import { type Upstream, Upstreams } from '../failover/upstreams.ts';
import type { AgentPort } from './agent.ts';
import { perform } from './agent-client.ts';
import type { AgentStatus, Operation, Step } from './operation.ts';
import { rewindConninfo, type Source } from './source.ts';

/** `auto`: what is there is started, else turned around as it is, else rewound, else cloned, whichever first succeeds. */
export type Method = 'auto' | 'rewind' | 'clone';

export type RejoinTask = {
  readonly node: string;
  readonly primary: string;
  /** All configured nodes. */
  readonly names: readonly string[];
  readonly method: Method;
  /** False: where nothing else helps it is refused; nobody asked for the copy of everything. */
  readonly mayClone: boolean;
  readonly nodes: ControlNodes;
  readonly agent: AgentPort;
  readonly step: Step;
  /** Told what did not work and what is tried instead. */
  note(text: string): void;
  readonly signal: AbortSignal;
};

export type Rejoined = {
  readonly node: string;
  readonly primary: string;
  readonly how: 'followed already' | 'started' | 'turned around' | 'rewound' | 'cloned';
};

const STATEMENT_MS = 5000;
/** A checkpoint writes everything that is dirty. */
const CHECKPOINT_MS = 600_000;
/** A server that runs reaches its source within this, or does not at all. */
const STREAM_MS = 30_000;

type Facts = { readonly systemId: string; readonly timeline: number; readonly checkpointTimeline: number };

/** @throws FairleadError refused with exactly what is wrong. */
export async function rejoin(task: RejoinTask): Promise<Rejoined> {
  const { node, primary, agent, method } = task;
  if (node === primary) throw new FairleadError('refused', `${node} is the primary`, 'there is nothing to do');
  const status = await agent.status();
  const facts = await factsOf(task);
  if (status.systemId !== null && status.systemId !== facts.systemId) {
    throw new FairleadError(
      'refused',
      `${node} holds another cluster: system identifier ${status.systemId}, the primary's is ${facts.systemId}`,
      `move ${status.dataDirectory} away, or correct the address of ${node}`,
    );
  }
  const done = (how: Rejoined['how']): Rejoined => ({ node, primary, how });
  if (method === 'auto' && status.inRecovery === true && status.leftover === null) {
    if (status.running && (await streams(task, facts).catch(() => false))) return done('followed already');
    if (!status.running && (await startAlone(task, facts))) return done('started');
  }
  const source = await sourceFor(task, status.slot);
  if (method === 'auto' && status.inRecovery === false && status.leftover === null) {
    const obstacle = await turnedAround(task, facts, source);
    if (obstacle === null) return done('turned around');
    task.note(`${node} cannot follow as it is: ${messageOf(obstacle)}`);
  }
  if (method !== 'clone') {
    const obstacle = await rewound(task, status, facts, source);
    if (obstacle === null) return done('rewound');
    if (method === 'rewind' || !task.mayClone) throw obstacle;
    task.note(`${node} cannot be rewound, and is cloned: ${messageOf(obstacle)}`);
  }
  await ask(task, { kind: 'clone', body: { source, start: true } });
  await untilItFollows(task, facts);
  return done('cloned');
}

/** A former primary that has nothing of its own. @returns null, or why it did not come about */
async function turnedAround(task: RejoinTask, facts: Facts, source: Source): Promise<Error | null> {
  const { known, steps } = await readHistory(task.nodes, task.primary, facts.timeline);
  if (!known) return new FairleadError('refused', `${task.primary} does not show the history of its timeline`);
  const history = steps.map(({ timeline, endLsn }) => ({ timeline, endLsn: formatLsn(endLsn) }));
  try {
    await ask(task, { kind: 'follow', body: { source, history, start: true } });
    await untilItFollows(task, facts);
    return null;
  } catch (error) {
    if (error instanceof FairleadError && error.code === 'refused') return error;
    throw error;
  }
}

/** @returns null, or why it did not come about. @throws what has nothing to do with the rewind */
async function rewound(task: RejoinTask, status: AgentStatus, facts: Facts, source: Source): Promise<Error | null> {
  if (status.noRewind !== null) return new FairleadError('refused', status.noRewind, 'clone it');
  try {
    await checkpoint(task, facts);
    await ask(task, { kind: 'rewind', body: { source, start: true } });
    await untilItFollows(task, facts);
    return null;
  } catch (error) {
    if (error instanceof FairleadError && error.code === 'refused') return error;
    throw error;
  }
}

async function factsOf({ nodes, primary }: RejoinTask): Promise<Facts> {
  const [row] = await nodes.query<{ id: string; recovery: boolean; timeline: number | null; checkpoint: number }>(
    primary,
    `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS id, pg_is_in_recovery() AS recovery,
      CASE WHEN pg_is_in_recovery() THEN NULL ELSE ${TIMELINE_OF_PRIMARY} END AS timeline,
      (SELECT timeline_id FROM pg_control_checkpoint()) AS checkpoint`,
    [],
    STATEMENT_MS,
  );
  if (row === undefined || row.recovery || row.timeline === null) {
    throw new FairleadError('no_primary', `${primary} is not a primary`, 'wait for a primary, then run it again');
  }
  return { systemId: row.id, timeline: row.timeline, checkpointTimeline: row.checkpoint };
}

/**
 * Until its first checkpoint after a promotion a primary's control file names the old timeline, and pg_rewind before 17 finds nothing to
 * do ("source and target cluster are on the same timeline").
 */
async function checkpoint({ nodes, primary, step }: RejoinTask, facts: Facts): Promise<void> {
  if (facts.checkpointTimeline === facts.timeline) return;
  step(`waiting for a checkpoint of ${primary}`);
  try {
    await nodes.query(primary, 'CHECKPOINT', [], CHECKPOINT_MS);
  } catch (error) {
    const denied = error instanceof ControlError && error.sqlState === '42501';
    if (!denied) throw error;
    throw new FairleadError(
      'refused',
      `${primary} has made no checkpoint since its promotion, and this role may not ask for one`,
      'GRANT pg_checkpoint to it (15 and later), or wait for checkpoint_timeout',
    );
  }
}

/** The slot is made here, the connection string is that of the other replicas, or our own login. */
async function sourceFor(task: RejoinTask, usedSlot: string | null): Promise<Source> {
  const { nodes, node, primary, names } = task;
  const upstreams = new Upstreams();
  const others = names.filter((name) => name !== primary);
  const found = await Promise.all(
    others.map((name): Promise<Upstream | null> => upstreams.read(nodes, name, STATEMENT_MS).catch(() => null)),
  );
  const slot = await freeSlot(task, found[others.indexOf(node)]?.slotName || usedSlot);
  const obstacle = await ensureSlot(nodes, primary, slot);
  if (obstacle !== null) {
    throw new FairleadError('refused', `${primary} has no slot ${slot} for ${node}: ${obstacle}`, 'see the reason');
  }
  const target = nodes.target(primary);
  return {
    conninfo: upstreams.towards(node, target, nodes.target(node)),
    slot,
    rewindConninfo: rewindConninfo(target),
  };
}

/** The one it had, so that none is left behind to keep WAL; unless a copied configuration names somebody else's. */
async function freeSlot({ nodes, node, primary }: RejoinTask, used: string | null): Promise<string> {
  const own = slotNameFor(node, '');
  if (used === null || used === own) return own;
  const [row] = await nodes.query<{ other: boolean }>(
    primary,
    `SELECT s.slot_type <> 'physical' OR r.application_name <> $2 AS other FROM pg_replication_slots s
      LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name = $1`,
    [used, node],
    STATEMENT_MS,
  );
  return row?.other === true ? own : used;
}

async function startAlone(task: RejoinTask, facts: Facts): Promise<boolean> {
  try {
    await ask(task, { kind: 'start', body: {} });
    await untilItFollows(task, facts);
    return true;
  } catch (error) {
    if (!(error instanceof FairleadError) || error.code !== 'refused') throw error;
    task.note(`${task.node} does not follow as it is: ${error.message}`);
    return false;
  }
}

async function untilItFollows(task: RejoinTask, facts: Facts): Promise<void> {
  const { node, primary, step, signal } = task;
  step(`waiting for ${node} to stream from ${primary}`);
  const streaming = await until(
    STREAM_MS,
    async () => ((await streams(task, facts).catch(() => false)) ? true : null),
    signal,
  );
  if (streaming === null) {
    throw new FairleadError(
      'refused',
      `${node} runs, but does not stream from ${primary} on timeline ${facts.timeline} after ${STREAM_MS / 1000} s`,
      `see the log of ${node}; pg_hba.conf of ${primary} has to let its replication user in`,
    );
  }
  await caughtUp(task);
}

async function streams({ nodes, node, primary }: RejoinTask, { timeline }: Facts): Promise<boolean> {
  const [row] = await nodes.query<{ status: string; timeline: number; port: number }>(node, STREAMS, [], STATEMENT_MS);
  return row?.status === 'streaming' && row.timeline === timeline && row.port === nodes.target(primary).port;
}

/** Until it has replayed what the primary had written when it began to stream. */
async function caughtUp({ nodes, node, primary, step, signal }: RejoinTask): Promise<void> {
  const wantedLsn = await positionOf(nodes, primary, 'pg_current_wal_flush_lsn()');
  const firstLsn = await positionOf(nodes, node, 'pg_last_wal_replay_lsn()');
  const totalBytes = bytesBetween(firstLsn, wantedLsn);
  for (let lastLsn = firstLsn; lastLsn < wantedLsn; ) {
    if (signal.aborted) throw new FairleadError('shutting_down', `${node} goes on catching up`);
    step('catching up', { doneBytes: totalBytes - bytesBetween(lastLsn, wantedLsn), totalBytes });
    await until(1000, async () => {
      const lsn = await positionOf(nodes, node, 'pg_last_wal_replay_lsn()');
      const moved = lsn >= wantedLsn;
      lastLsn = lsn;
      return moved ? true : null;
    });
  }
}

async function positionOf(nodes: ControlNodes, node: string, position: string): Promise<Lsn> {
  const [row] = await nodes.query<{ lsn: string }>(
    node,
    `SELECT coalesce(${position}, '0/0')::text AS lsn`,
    [],
    STATEMENT_MS,
  );
  return parseLsn(row?.lsn ?? '0/0');
}

function ask(task: RejoinTask, requested: Parameters<AgentPort['ask']>[0]): Promise<void> {
  const progress = ({ stage, doneBytes, totalBytes }: Operation) =>
    task.step(stage, doneBytes === null || totalBytes === null ? undefined : { doneBytes, totalBytes });
  return perform(task.agent, requested, progress, task.signal);
}
