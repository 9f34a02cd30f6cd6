/** Views and states for the pure parts of the controller: a primary and two replicas that stream, unless told otherwise. */
import type { Observation, Receiver } from '../../../src/cluster/observation.ts';
import { type Lsn, lsn } from '../../../src/core/lsn.ts';
import { INITIAL, type Plan, type State } from '../../../src/failover/state.ts';
import type { NodeView, View } from '../../../src/failover/view.ts';

export const SYSTEM = '7000000000000000001';
export const NOW = 100_000;
export const TIMEOUT = 3000;

export const at = (value: number): Lsn => lsn(BigInt(value));

export const RECEIVER: Receiver = {
  status: 'streaming',
  senderHost: '127.0.0.1',
  senderPort: 5001,
  slotName: null,
  timeline: 1,
  silentMs: 100,
};

export function seen(node: string, change: Partial<Observation> = {}): Observation {
  const primary = node === 'pg1';
  return {
    node,
    sequence: 1,
    startedMs: NOW - 101,
    finishedMs: NOW - 100,
    role: primary ? 'primary' : 'replica',
    systemId: SYSTEM,
    timeline: 1,
    version: 180004,
    replayLsn: at(1000),
    receiveLsn: at(1000),
    replayPaused: false,
    receiver: primary ? null : RECEIVER,
    clockOffsetMs: 0,
    walLevel: 'logical',
    readOnly: false,
    ...change,
  };
}

export function node(name: string, change: Partial<NodeView> = {}): NodeView {
  const observation = change.seen === undefined ? seen(name) : change.seen;
  return {
    name,
    host: '127.0.0.1',
    port: 5000 + Number(name.slice(2)),
    weight: 1,
    promotable: true,
    drained: false,
    seen: observation,
    failure: null,
    failingSinceMs: null,
    condition: 'answers',
    asked: true,
    receiverTimeoutMs: 2000,
    hasAgent: false,
    demotable: false,
    quelled: false,
    diverged: null,
    aliveMs: observation?.finishedMs ?? NOW - 60_000,
    streamedMs: name === 'pg1' ? null : NOW - 200,
    timeline: observation?.timeline ?? 1,
    refusedSinceMs: null,
    refusedUntilMs: null,
    deafSinceMs: null,
    ...change,
  };
}

/** Silent for longer than the timeout. */
export const dead = (name: string, change: Partial<NodeView> = {}): NodeView =>
  node(name, {
    seen: null,
    failure: { kind: 'refused', message: 'ECONNREFUSED' },
    failingSinceMs: NOW - TIMEOUT,
    condition: 'refused',
    aliveMs: NOW - TIMEOUT - 10,
    ...change,
  });

/** A replica whose receiver has lost the primary. */
export const orphan = (name: string, receiveLsn = 1000, change: Partial<NodeView> = {}): NodeView =>
  node(name, {
    seen: seen(name, { receiver: null, receiveLsn: at(receiveLsn), replayLsn: at(receiveLsn) }),
    streamedMs: NOW - TIMEOUT - 10,
    deafSinceMs: NOW - TIMEOUT,
    ...change,
  });

export function view(nodes: readonly NodeView[], change: Partial<View> = {}): View {
  return {
    nodes,
    mode: 'automatic',
    timeoutMs: TIMEOUT,
    restartWaitMs: null,
    maxPromotions: 5,
    maxLossBytes: 100,
    hooks: { validate: false, rejoin: false, fenceRequired: false },
    newestLsn: at(1000),
    lateMs: 0,
    outcome: null,
    request: null,
    standing: null,
    ...change,
  };
}

export const STEADY: State = {
  ...INITIAL,
  phase: 'steady',
  reason: 'pg1 is the primary on timeline 1',
  sinceMs: 1000,
  heardFromMs: 1000,
  epoch: 1,
  primary: 'pg1',
  former: 'pg1',
  timeline: 1,
  systemId: SYSTEM,
};

export const SUSPECT: State = { ...STEADY, phase: 'suspect', reason: 'pg1 is silent', sinceMs: NOW };

export const PLAN: Plan = {
  kind: 'automatic',
  former: 'pg1',
  to: null,
  startedMs: NOW,
  newestLsn: at(1000),
  frozen: [],
  refused: new Map(),
};

export const frozen = (name: string, receiveLsn: number, timeline = 1) => ({
  node: name,
  timeline,
  receiveLsn: at(receiveLsn),
  replayLsn: at(receiveLsn),
  paused: false,
  complete: true,
  exact: true,
});
