/** Bar, banner and tiles. */
import { $, className, h, keyed, text } from './dom.js';
import * as format from './format.js';

const PHASE_CLASS = { steady: 'good', starting: '', halted: 'bad' };
const SYNC_CLASS = { confirmed: 'good', unknown: '', blocked: 'bad' };

export function renderBar(state) {
  const { cluster } = state;
  if (cluster === null) return;
  text($('phase'), cluster.paused ? 'paused' : cluster.phase);
  className($('phase'), `pill ${cluster.paused ? 'warn' : (PHASE_CLASS[cluster.phase] ?? 'warn')}`);
  $('phase').title = cluster.reason;
  text($('epoch'), cluster.epoch);
  text($('timeline'), cluster.timeline || format.DASH);
  text($('position'), cluster.primaryLsn ?? format.DASH);
  const { mode, reason, commits } = cluster.replication;
  text($('replication'), mode === 'streaming' ? `live, ${format.plural(commits, 'commit')}` : mode);
  className($('replication'), mode === 'streaming' ? 'good' : 'warn');
  $('replication').title = reason;
  renderSynchronous(cluster.synchronous);
  document.title = `${cluster.primary ?? 'no primary'} · ${cluster.phase} · Fairlead`;
}

/** Where every acknowledged commit is, where Fairlead sees to that. */
function renderSynchronous(synchronous) {
  $('synchronous-fact').hidden = synchronous === null;
  if (synchronous === null) return;
  const { state, reason, confirmed } = synchronous;
  const places = (confirmed ?? []).map(({ copies, nodes }) => `${copies} of ${nodes.join(', ')}`);
  const where = places.length === 0 ? 'the primary alone' : places.join(' or ');
  const words = { unknown: format.DASH, confirmed: where, blocked: `${where}; new ones wait` };
  text($('synchronous'), words[state] ?? `${where} (${state})`);
  className($('synchronous'), SYNC_CLASS[state] ?? 'warn');
  $('synchronous').title = reason;
}

/** What somebody who walks past must know. The clock runs here, between two messages too. */
export function renderBanner(state, nowMs) {
  const said = bannerOf(state, nowMs);
  $('banner').hidden = said === null;
  if (said === null) return;
  className($('banner'), `banner ${said.level}`);
  text($('banner-title'), said.title);
  text($('banner-text'), said.text);
  text($('banner-clock'), said.clock);
}

function bannerOf({ cluster, receivedMs, lostSinceMs }, nowMs) {
  if (lostSinceMs !== null) {
    const ago = seconds(nowMs - lostSinceMs);
    return {
      level: 'bad',
      title: 'Disconnected from Fairlead',
      text: 'what is shown is old; reconnecting',
      clock: ago,
    };
  }
  if (cluster === null) return null;
  if (cluster.holding === null && cluster.synchronous?.state === 'blocked') {
    return {
      level: 'bad',
      title: 'Commits wait',
      text: cluster.synchronous.reason.replace(/^commits wait: /, ''),
      clock: '',
    };
  }
  if (cluster.holding === null && cluster.phase !== 'halted') return null;
  if (cluster.holding === null) return { level: 'bad', title: 'Halted', text: cluster.reason, clock: '' };
  const { why, sessions, forMs } = cluster.holding;
  const clock = seconds(forMs + nowMs - receivedMs);
  const held = `${format.plural(sessions, 'session')} held for ${clock}`;
  if (why === 'paused')
    return { level: 'warn', title: `Paused: ${held}`, text: 'until an operator resumes', clock: '' };
  return { level: 'bad', title: `No primary: ${held}`, text: cluster.reason, clock: cluster.phase };
}

function seconds(ms) {
  return ms < 100_000 ? `${(Math.max(0, ms) / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}

export function renderConnection(state, nowMs) {
  const lost = state.lostSinceMs !== null;
  const live = !lost && state.cluster !== null;
  const words = lost ? 'disconnected' : live ? 'live' : 'connecting';
  text($('connection'), words);
  className($('connection'), `connection ${lost ? 'lost' : live ? 'live' : ''}`);
  document.body.classList.toggle('stale', lost && nowMs - state.lostSinceMs > 500);
}

export function renderTiles({ cluster, traffic, lag }) {
  keyed(
    $('tiles'),
    tilesOf(cluster, traffic, lag),
    (t) => t.label,
    makeTile,
    (tile, t) => {
      const [label, value, sub] = tile.children;
      text(label, t.label);
      text(value.firstChild, t.value);
      text(value.lastChild, t.unit);
      className(value, `value ${t.level ?? ''}`);
      text(sub, t.sub);
    },
  );
}

function makeTile() {
  return h('div', 'tile', h('div', 'label'), h('div', 'value', h('span'), h('span', 'unit')), h('div', 'sub'));
}

function tilesOf(cluster, traffic, lag) {
  const t = traffic;
  const tile = (label, [value, unit], sub, level) => ({ label, value, unit, sub, level });
  const known = (lag?.nodes ?? []).filter((n) => n.role === 'replica' && n.lag.ms !== null);
  const worst = known.reduce((most, n) => (most === null || n.lag.ms > most.lag.ms ? n : most), null);
  const lagging = cluster?.nodes.find((n) => n.name === worst?.name)?.state === 'lagging';
  const quantiles = (q) => (q ? `p50 ${format.time(q.p50)} · p99.9 ${format.time(q.p999)}` : '');
  const errors = t && t.errors.perSecond > 0 ? ` · ${format.count(t.errors.perSecond)} errors/s` : '';
  const share = format.percent(t?.readsOnReplicas).split('\u2009');
  return [
    tile(
      'Statements',
      [format.count(t?.statements.perSecond), t ? '/s' : ''],
      t ? `${format.count(t.reads.perSecond)} reads · ${format.count(t.writes.perSecond)} writes${errors}` : '',
    ),
    tile('Reads on replicas', [share[0], share[1] ?? ''], t ? `${format.count(t.reads.total)} reads since start` : ''),
    tile(
      'Worst lag',
      format.timeParts(worst?.lag.ms),
      worst ? `${worst.name} · ${format.bytes(worst.lag.bytes)}` : 'not known',
      lagging ? 'warn' : undefined,
    ),
    tile('Read p99', format.timeParts(t?.latencyMs.read.p99), quantiles(t?.latencyMs.read)),
    tile('Write p99', format.timeParts(t?.latencyMs.write.p99), quantiles(t?.latencyMs.write)),
    tile(
      'Sessions',
      [format.count(t?.sessions.total), ''],
      t ? sessionsOf(t.sessions) : '',
      t && t.sessions.held > 0 ? 'warn' : undefined,
    ),
  ];
}

/** Two facts fit; held sessions come first when there are any. */
function sessionsOf({ active, waiting, held }) {
  return held > 0 ? `${held} held · ${active} active` : `${active} active · ${waiting} waiting`;
}
