/**
 * Runs in a process of its own: serves clients with a copy of the model that the control process keeps. It ends when that one does, for what
 * it knows of the cluster would be out of date.
 */
import type { Socket } from 'node:net';
import { Cluster } from '../cluster/cluster.ts';
import type { Outcome } from '../console/command.ts';
import { ConsoleSession } from '../console/console-session.ts';
import { Consoles } from '../console/consoles.ts';
import type { RunCommand } from '../console/run-command.ts';
import { adoptClock } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import { type Log, type LogThreshold, logFrom, SILENT } from '../core/log.ts';
import { signalSession } from '../frontend/backend-signals.ts';
import type { Limits, Neighbours, Signal, SignalOutcome } from '../frontend/neighbours.ts';
import { DataPlane } from '../plane/data-plane.ts';
import { Classifier } from '../sql/classifier.ts';
import { Channel, type Port } from './channel.ts';
import type { Beginning, FromWorker, Sample, ToWorker } from './messages.ts';
import { ModelMirror } from './model-mirror.ts';

/** What clients may still be told when the control process is gone. */
const FAREWELL_MS = 200;

type Parts = {
  readonly index: number;
  readonly cluster: Cluster;
  readonly mirror: ModelMirror;
  readonly plane: DataPlane;
};

let parts: Parts | null = null;
let left = 0;
let lastRun = 0;

let log: Log = SILENT;

const channel = new Channel<FromWorker, ToWorker>(process as unknown as Port, hear, (error, { kind }) =>
  log.error({ error: messageOf(error), what: kind }, 'a worker could not do what it was told'),
);

// the control process decides when to end, also when a terminal signals them all
for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => {
  setTimeout(() => process.exit(1), FAREWELL_MS);
  void parts?.plane.shutDown('now').then(() => process.exit(0));
});

function hear(message: ToWorker, socket: Socket | null): unknown {
  if (message.kind === 'begin') return begin(message);
  // it could not begin, and its end is near
  if (parts === null) return null;
  const { index, cluster, mirror, plane } = parts;
  switch (message.kind) {
    case 'model':
      return mirror.apply(message.changes);
    case 'client':
      return accept(plane, message, socket);
    case 'overview':
      return { ...plane.overview };
    case 'clients':
    case 'servers':
    case 'pools':
      return plane[message.kind]();
    case 'process':
      // connections whose end was seen in this turn are counted until it is over
      return turn()
        .then(turn)
        .then(() => plane.process(index + 1));
    case 'order':
      return plane.order(message.order).then(() => null);
    case 'configure': {
      plane.prepare(message.config)(message.config);
      return cluster.setMaxLag(message.config.routing.max_lag);
    }
    case 'nodes':
      return plane.add(message.nodes);
    case 'schema changed':
      return plane.schemaChanged();
    case 'settled':
      return null;
    case 'quiesce':
      return plane.quiesce(message.timeoutMs).then(() => null);
    case 'acknowledged':
      return plane.acknowledgedAfter(message.afterMs);
    case 'shut down':
      // what was answered in this turn is sent before
      return turn().then(() => plane.shutDown(message.mode));
    case 'cancel':
      return plane.sessions.cancel(message.pid, message.secret);
    case 'signal':
      return signalHere(plane, message.signal);
    case 'sequence reader':
      return void plane.services.sequenceReaders.add(message.of);
    default:
      message satisfies never;
  }
}

async function begin({ config, nodes, index, clock, seed, model }: Beginning): Promise<void> {
  process.title = `fairlead worker ${index + 1}`;
  adoptClock(clock);
  const cluster = new Cluster(nodes, config.routing.max_lag);
  const mirror = new ModelMirror(cluster, {
    sample: () => channel.ask<Sample>({ kind: 'sample' }),
    await: (lsn) => channel.tell({ kind: 'await', lsn }),
  });
  log = logOf(config.log.level);
  const consoles = new Consoles();
  const plane = new DataPlane({
    cluster,
    config,
    log,
    seed,
    operators: consoles,
    neighbours: neighboursOf(index, config.workers),
    openConsole: (client, { sessions, services }) => {
      new ConsoleSession(client, { consoles, sessions, log, config: services.config, run }).start();
    },
  });
  parts = { index, cluster, mirror, plane };
  plane.start();
  mirror.apply(model);
  mirror.watch(config.cluster);
  await Classifier.load();
}

/** Resolves when the event loop has gone round. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function accept(
  plane: DataPlane,
  { address, readOnly, clients }: ToWorker & { kind: 'client' },
  socket: Socket | null,
): void {
  // Node hands over no socket that has broken on its way
  if (socket === null) return leave();
  socket.on('close', leave);
  plane.listener.accept(socket, { address, readOnly }, clients);
}

/** Those of one turn are told together. */
function leave(): void {
  if (left++ > 0) return;
  setImmediate(() => {
    channel.tell({ kind: 'left', clients: left });
    left = 0;
  });
}

function signalHere(plane: DataPlane, signal: Signal): SignalOutcome {
  const session = plane.sessions.find(signal.pid);
  return session === undefined ? 'unknown' : signalSession(session, signal);
}

function neighboursOf(index: number, count: number): Neighbours {
  return {
    index,
    count,
    // whose client it was may be gone by then
    cancel: (pid, secret) => channel.ask<void>({ kind: 'cancel', pid, secret }).catch(() => {}),
    signal: (signal) => channel.ask<SignalOutcome>({ kind: 'signal', signal }).catch(() => 'unknown'),
    clients: (then) => void channel.ask<number>({ kind: 'clients' }).then(then, () => {}),
    enter: (where, limits, then) => {
      channel.ask<keyof Limits | null>({ kind: 'enter', where, limits }).then(then, () => {});
    },
    leave: (where) => channel.tell({ kind: 'leave', where }),
    audited: (read) => channel.tell({ kind: 'audited', read }),
    sequenceReader: (of) => channel.tell({ kind: 'sequence reader', of }),
  };
}

/** A command of the console is run by the control process. */
const run: RunCommand = (resolved, { signal, ...operator }) => {
  const id = ++lastRun;
  const { command, argument } = resolved;
  signal.addEventListener('abort', () => channel.tell({ kind: 'abort', id }), { once: true });
  return channel.ask<Outcome>({ kind: 'run', id, words: command.words, argument, operator });
};

/** The log is written by the control process, so that lines do not mix. */
function logOf(least: LogThreshold): Log {
  return logFrom(least, (level, fields, text) => channel.tell({ kind: 'log', level, fields: plain(fields), text }));
}

/** Fields that can be sent. */
function plain(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, value instanceof Error ? messageOf(value) : value]),
  );
}
