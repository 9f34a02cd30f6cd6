/** State comes by server-sent events; each message is a whole snapshot, so the page is right again with the first one it gets. */
import { addEvents, renderEvents } from './events.js';
import { Plots, SPAN_S } from './plots.js';
import { renderReads, renderTables } from './reads.js';
import { Columns } from './series.js';
import { renderBanner, renderBar, renderConnection, renderTiles } from './status.js';
import { renderTopology } from './topology.js';

/** The server speaks twice a second: silence for so long means that it is gone, whatever TCP says. */
const SILENT_MS = 3500;
const REOPEN_MS = 1500;

const state = {
  cluster: null,
  lag: null,
  traffic: null,
  events: [],
  /** When `cluster` came, by this page's clock. */
  receivedMs: 0,
  heardMs: performance.now(),
  lostSinceMs: null,
};
const plots = new Plots();
/** Columns of each plot, made when the nodes are known. */
let columns = null;
/** Names of the nodes that are drawn, in their places. */
let drawn = null;
/** The server's clock minus this page's: plots are drawn in the server's time. */
let offsetMs = 0;
let dirty = false;

function connect() {
  const source = new EventSource('/api/stream');
  const on = (name, handle) =>
    source.addEventListener(name, (message) => {
      heard();
      handle(JSON.parse(message.data));
      redraw();
    });
  on('cluster', (cluster) => {
    state.cluster = cluster;
    state.receivedMs = performance.now();
    const names = cluster.nodes.map((n) => n.name);
    if (drawn === names.join()) return;
    if (drawn !== null) {
      // plots have a line for each node, and colours go by their places
      source.close();
      location.reload();
      return;
    }
    drawn = names.join();
    columns = {
      'lag-ms': new Columns(names.length),
      'lag-bytes': new Columns(names.length),
      throughput: new Columns(names.length),
      latency: new Columns(4),
    };
    plots.setNodes(cluster.nodes);
  });
  on('lag', (lag) => {
    state.lag = lag;
    offsetMs = lag.at - Date.now();
    if (historyLoaded) pushLag(lag.at, lag.nodes);
  });
  on('traffic', (traffic) => {
    const before = state.traffic;
    state.traffic = traffic;
    if (historyLoaded && before !== null) pushTraffic(traffic, before);
  });
  on('events', (events) => addEvents(state, events));
  on('event', (event) => addEvents(state, [event]));
  source.onopen = () => loadHistory();
  source.onerror = () => {
    lost();
    // refused outright (the server restarts, too many streams): EventSource gives up, we do not
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, REOPEN_MS);
  };
}

let historyLoaded = false;

/** Fills the plots with what happened before the page was opened, or while it was disconnected. */
async function loadHistory() {
  historyLoaded = false;
  try {
    const since = Date.now() + offsetMs - SPAN_S * 1000;
    const answers = await Promise.all(
      [`/api/lag/history?since=${Math.round(since)}`, '/api/traffic/history'].map((path) => fetch(path)),
    );
    const [lag, traffic] = await Promise.all(answers.map((a) => a.json()));
    while (columns === null) await new Promise((resolve) => setTimeout(resolve, 50));
    const byTime = Map.groupBy ? Map.groupBy(lag.samples, (s) => s.at) : group(lag.samples);
    for (const [at, samples] of [...byTime].sort((a, b) => a[0] - b[0])) {
      pushLag(
        at,
        state.cluster.nodes.map((n) => {
          const sample = samples.find((s) => s.node === n.name);
          return { role: n.role, lag: { ms: sample?.ms ?? null, bytes: sample?.bytes ?? null } };
        }),
      );
    }
    for (const s of traffic.samples) {
      columns.throughput.push(s.at / 1000, s.perSecond);
      columns.latency.push(s.at / 1000, [s.readP50, s.readP99, s.writeP50, s.writeP99]);
    }
  } catch {
    // the stream is what matters; it fills the plots from now on
  }
  historyLoaded = true;
  redraw();
}

function group(samples) {
  const byTime = new Map();
  for (const s of samples) byTime.set(s.at, [...(byTime.get(s.at) ?? []), s]);
  return byTime;
}

/** A primary has no lag: a line at zero would only hide the others. */
function pushLag(at, nodes) {
  const of = (field) => nodes.map((n) => (n.role === 'primary' ? null : n.lag[field]));
  columns?.['lag-ms'].push(at / 1000, of('ms'));
  columns?.['lag-bytes'].push(at / 1000, of('bytes'));
}

function pushTraffic(now, before) {
  const seconds = (now.at - before.at) / 1000;
  if (seconds < 0.5) return;
  const perSecond = now.nodes.map((n, i) => Math.max(0, (n.total - (before.nodes[i]?.total ?? 0)) / seconds));
  const { read, write } = now.latencyMs;
  columns?.throughput.push(now.at / 1000, perSecond);
  columns?.latency.push(now.at / 1000, [read.p50, read.p99, write.p50, write.p99]);
}

function heard() {
  state.heardMs = performance.now();
  state.lostSinceMs = null;
}

function lost() {
  state.lostSinceMs ??= state.heardMs;
  redraw();
}

function redraw() {
  if (dirty) return;
  dirty = true;
  requestAnimationFrame(() => {
    dirty = false;
    render();
  });
}

function render() {
  const nowMs = performance.now();
  renderBar(state);
  renderBanner(state, nowMs);
  renderConnection(state, nowMs);
  renderTiles(state);
  renderTopology(state);
  renderReads(state);
  renderTables(state);
  renderEvents(state);
  plots.setEvents(state.events);
  if (columns === null) return;
  const nowS = (Date.now() + offsetMs) / 1000;
  for (const [id, column] of Object.entries(columns)) plots.setData(id, column.data, nowS);
}

setInterval(() => {
  const nowMs = performance.now();
  if (state.lostSinceMs === null && nowMs - state.heardMs > SILENT_MS) lost();
  // the banner's clock runs between two messages
  renderBanner(state, nowMs);
  renderConnection(state, nowMs);
}, 100);
addEventListener('resize', redraw);
connect();
