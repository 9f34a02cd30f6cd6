/** Share of reads by node and by reason; latency table; pools. */
import { $, className, h, keyed, nodeClass, text } from './dom.js';
import * as format from './format.js';

/** What a reason means, for whoever has not read the documentation. */
const MEANING = {
  write: 'must run on the primary',
  transaction: 'inside a transaction that may write',
  pinned: 'the session keeps its server connection',
  'session state': 'SET and the like',
  copy: 'COPY from or to the client',
  'unknown statement': 'not understood, so not risked',
  'volatile function': 'calls a function that may write',
  'consistency primary': 'the session asked for the primary',
  'hint primary': 'a comment asked for the primary',
  'no replica': 'no replica is readable',
  'no fresh replica': 'none caught up within freshness_wait',
  retry: 'a replica refused or died; ran again',
  'fresh replica': 'had replayed what the session must see',
  'fresh tables': 'is behind, but not in what is read',
  'caught up': 'after a short wait for the replica',
  'read only transaction': 'BEGIN READ ONLY',
  'split transaction': 'has only read so far; moves at its first write',
  'hint replica': 'a comment asked for a replica',
};

export function renderReads({ traffic }) {
  if (traffic === null) return;
  const nodes = traffic.nodes.map((n, index) => ({ ...n, index }));
  const serving = nodes.filter((n) => n.readShare !== null && n.readShare > 0);
  keyed(
    $('share'),
    serving,
    (n) => n.name,
    (n) => h('div', nodeClass(n.index)),
    (bar, n) => {
      bar.style.flexGrow = String(n.readShare);
      bar.title = `${n.name} ${format.percent(n.readShare)}`;
    },
  );
  keyed(
    $('share-legend'),
    nodes,
    (n) => n.name,
    makeEntry,
    (entry, n) => {
      text(entry.children[1], n.name);
      text(entry.children[2], format.percent(n.readShare));
    },
  );
  renderReasons(traffic);
}

function makeEntry(n) {
  return h('li', nodeClass(n.index ?? 0), h('span', 'swatch'), h('span'), h('span', 'value'));
}

function renderReasons(traffic) {
  const reasons = new Map();
  for (const flow of traffic.flows) {
    if (flow.class !== 'read' || !flow.share) continue;
    const sum = reasons.get(flow.reason) ?? { reason: flow.reason, onReplica: flow.onReplica, share: 0, perSecond: 0 };
    sum.share += flow.share;
    sum.perSecond += flow.perSecond;
    reasons.set(flow.reason, sum);
  }
  const rows = [];
  for (const onReplica of [true, false]) {
    const group = [...reasons.values()].filter((r) => r.onReplica === onReplica).sort((a, b) => b.share - a.share);
    if (group.length === 0) continue;
    const share = group.reduce((sum, r) => sum + r.share, 0);
    rows.push({ key: `group ${onReplica}`, title: onReplica ? 'On replicas' : 'On the primary', share });
    rows.push(...group.map((r) => ({ key: r.reason, ...r })));
  }
  if (rows.length === 0) rows.push({ key: 'empty', empty: true });
  keyed($('reasons'), rows, (r) => r.key, makeReason, updateReason);
}

function makeReason(row) {
  if (row.empty) return h('p', 'empty', 'no reads in the last minute');
  if (row.title) return h('div', 'group', h('span', '', row.title), h('span'));
  const name = h('span', 'name', row.reason, h('small', '', MEANING[row.reason] ?? ''));
  return h('div', 'reason', h('span', 'fill'), name, h('span', 'rate'), h('span', 'percent'));
}

function updateReason(element, row) {
  if (row.empty) return;
  if (row.title) return text(element.lastChild, format.percent(row.share));
  const [fill, , rate, percent] = element.children;
  fill.style.width = `${row.share * 100}%`;
  text(rate, `${format.count(row.perSecond)}/s`);
  text(percent, format.percent(row.share));
}

export function renderTables({ traffic, cluster }) {
  if (traffic === null) return;
  const rows = [
    { name: 'Reads', strong: true, ...traffic.latencyMs.read },
    { name: 'Writes', strong: true, ...traffic.latencyMs.write },
    ...traffic.nodes.map((n, index) => ({ name: n.name, index, ...n.latencyMs })),
  ];
  keyed(
    $('percentiles'),
    rows,
    (r) => r.name,
    makePercentiles,
    (tr, r) => {
      for (const [i, ms] of [r.p50, r.p95, r.p99, r.p999].entries()) text(tr.children[i + 1], format.time(ms));
    },
  );
  const indexOf = (name) => cluster?.nodes.findIndex((n) => n.name === name) ?? 0;
  const several = new Set(traffic.pools.map((p) => `${p.database} ${p.user}`)).size > 1;
  const pools = traffic.pools.map((p) => ({
    ...p,
    index: indexOf(p.node),
    title: several ? `${p.node} ${p.database}/${p.user}` : p.node,
  }));
  keyed($('pools'), pools, (p) => `${p.node} ${p.database} ${p.user}`, makePool, updatePool);
  const { sessions } = traffic;
  text($('sessions'), `${format.plural(sessions.total, 'session')}, ${sessions.idle} idle, ${sessions.pinned} pinned`);
}

function makePercentiles(row) {
  const th = h('th', '', row.name);
  th.scope = 'row';
  const kind = row.strong ? 'strong' : nodeClass(row.index);
  return h('tr', kind, th, h('td'), h('td'), h('td'), h('td'));
}

function makePool(pool) {
  const th = h('th', '', pool.title);
  th.scope = 'row';
  th.title = `database ${pool.database}, user ${pool.user}`;
  return h('tr', nodeClass(pool.index), th, h('td', '', h('span', 'meter', h('i')), h('span')), h('td'), h('td'));
}

function updatePool(row, pool) {
  const [, active, idle, waiting] = row.children;
  active.firstChild.firstChild.style.width = `${(pool.active / Math.max(1, pool.size)) * 100}%`;
  text(active.lastChild, `${pool.active} / ${pool.size}`);
  text(idle, pool.idle);
  text(waiting, pool.waiting === 0 ? '0' : `${pool.waiting}, ${format.time(pool.maxWaitMs)}`);
  className(waiting, pool.waiting === 0 ? '' : 'warn');
}
