/** Who streams from whom: the primary on top, everybody else below, WAL flowing along the links. */
import { $, className, h, keyed, nodeClass, svg, text } from './dom.js';
import * as format from './format.js';

const STATE_CLASS = {
  up: 'good',
  lagging: 'warn',
  draining: 'warn',
  down: 'bad',
  'needs rejoin': 'bad',
  foreign: 'bad',
  detached: 'warn',
  unsteady: 'warn',
};

const SYNC_CLASS = { sync: 'good', quorum: 'good', failing: 'bad', joining: 'warn' };

export function renderTopology({ cluster, traffic, lag }) {
  if (cluster === null) return;
  // while there is none, whoever was primary last keeps its place
  const top = cluster.primary ?? cluster.nodes.find((n) => n.role === 'primary')?.name;
  const nodes = cluster.nodes.map((node, index) => ({
    ...node,
    index,
    lag: lag?.nodes[index]?.lag ?? node.lag,
    traffic: traffic?.nodes[index] ?? null,
    top: node.name === top,
  }));
  keyed(
    $('upstream'),
    nodes.filter((n) => n.top),
    (n) => n.name,
    makeCard,
    updateCard,
  );
  keyed(
    $('downstream'),
    nodes.filter((n) => !n.top),
    (n) => n.name,
    makeCard,
    updateCard,
  );
  drawLinks(nodes, top);
}

function makeCard() {
  const number = () => h('div', '', h('dt'), h('dd'));
  return h(
    'li',
    'node',
    h('div', 'title', h('span', 'name'), h('span', 'role'), h('span', 'sync'), h('span', 'state')),
    h('div', 'why'),
    h('div', 'place'),
    h('dl', 'numbers', number(), number(), number(), number(), number(), number()),
  );
}

function updateCard(card, node) {
  const [title, why, place, numbers] = card.children;
  const [name, role, sync, state] = title.children;
  const off = node.top ? !node.assigned : !node.readable;
  className(card, `node ${nodeClass(node.index)}${node.assigned ? ' primary' : ''}${off ? ' off' : ''}`);
  text(name, node.name);
  text(role, node.role === 'unknown' ? 'never seen' : node.role);
  // every acknowledged commit relies on it, or will
  sync.hidden = node.sync === null || node.sync === 'async';
  text(sync, node.sync ?? '');
  className(sync, `sync ${SYNC_CLASS[node.sync] ?? ''}`);
  text(state, node.replayPaused && node.state === 'up' ? 'replay paused' : node.state);
  className(state, `state ${node.replayPaused ? 'warn' : (STATE_CLASS[node.state] ?? '')}`);
  // "up" needs no words; every other state does
  why.hidden = node.state === 'up';
  text(why, node.reason);
  const facts = [
    node.address,
    node.zone && `zone ${node.zone}`,
    node.serverVersion && `PostgreSQL ${node.serverVersion}`,
  ];
  text(place, facts.filter(Boolean).join(' · '));
  numbersOf(node).forEach(([label, value], i) => {
    const [dt, dd] = numbers.children[i].children;
    text(dt, label);
    text(dd, value);
    className(dd, label === 'replayed' || label === 'position' ? 'lsn' : '');
  });
}

function numbersOf({ top, traffic, replayLsn, lag, timeline, probeMs }) {
  const rate = (r) => (r ? `${format.count(r.perSecond)}/s` : format.DASH);
  const p99 = ['p99', format.time(traffic?.latencyMs.p99)];
  if (top) {
    return [
      ['writes', rate(traffic?.writes)],
      ['reads', rate(traffic?.reads)],
      p99,
      ['position', replayLsn ?? format.DASH],
      ['timeline', timeline || format.DASH],
      ['probe', format.time(probeMs)],
    ];
  }
  return [
    ['behind', format.time(lag.ms)],
    ['WAL behind', format.bytes(lag.bytes)],
    ['replayed', replayLsn ?? format.DASH],
    ['reads', rate(traffic?.reads)],
    ['of all reads', format.percent(traffic?.readShare)],
    p99,
  ];
}

/** Links are drawn from measured places, so that cards may wrap as they like. */
function drawLinks(nodes, primary) {
  const stage = $('topology').getBoundingClientRect();
  const cards = new Map([...$('upstream').keyed, ...$('downstream').keyed]);
  const links = nodes
    .filter((n) => !n.top)
    .map((node) => linkOf(node, primary, cards, stage))
    .filter((link) => link !== null);
  keyed($('links'), links, (l) => l.node.name, makeLink, updateLink);
  keyed(
    $('link-labels'),
    links,
    (l) => l.node.name,
    () => h('span', 'link-label'),
    updateLabel,
  );
}

function linkOf(node, primary, cards, stage) {
  const upstream = node.receiver?.upstream ?? primary;
  const from = cards.get(upstream)?.getBoundingClientRect();
  const to = cards.get(node.name)?.getBoundingClientRect();
  if (!from || !to || upstream === node.name || node.role !== 'replica') return null;
  const streaming = node.receiver !== null && node.receiver.status === 'streaming' && node.state !== 'down';
  const x1 = from.left + from.width / 2 - stage.left;
  const y1 = from.bottom - stage.top;
  const x2 = to.left + to.width / 2 - stage.left;
  const y2 = to.top - stage.top;
  const bend = Math.max(24, (y2 - y1) * 0.5);
  const words = !streaming ? 'not streaming' : node.replayPaused ? 'received, not replayed' : 'streaming';
  return {
    node,
    streaming,
    words,
    path: `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`,
    // the middle of the curve, a little towards the replica where curves have parted
    at: [x1 + (x2 - x1) * 0.72, y1 + (y2 - y1) * 0.62],
  };
}

function makeLink() {
  const group = svg('g');
  group.append(svg('path', 'link'), svg('path', 'link'));
  return group;
}

function updateLink(group, { node, streaming, path }) {
  const [base, flow] = group.children;
  className(group, nodeClass(node.index));
  for (const line of [base, flow]) if (line.getAttribute('d') !== path) line.setAttribute('d', path);
  className(base, streaming ? 'link' : 'link off');
  className(flow, streaming ? 'link flow' : 'link off');
}

function updateLabel(label, { node, streaming, words, at }) {
  className(label, `link-label ${streaming && !node.replayPaused ? '' : 'warn'}`);
  text(label, words);
  label.style.left = `${at[0]}px`;
  label.style.top = `${at[1]}px`;
}
