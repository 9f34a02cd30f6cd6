/** What happened, newest first, and what it cost. */
import { $, className, h, keyed, nodeClass, text } from './dom.js';
import * as format from './format.js';

const MOST = 100;
/** Those that one looks for; the others say how they came about. */
const MAJOR = new Set([
  ...['failover', 'switchover', 'halted', 'promotion-failed', 'diverged', 'repoint-incomplete'],
  ...['sync-blocked', 'sync-degraded', 'sync-lost', 'data-loss-allowed', 'journal-written', 'journal-failed'],
]);

export function addEvents(state, events) {
  const known = new Map(state.events.map((e) => [e.id, e]));
  for (const event of events) known.set(event.id, { ...event, atMs: Date.parse(event.at) });
  state.events = [...known.values()].sort((a, b) => b.atMs - a.atMs).slice(0, MOST);
}

export function renderEvents({ events, cluster }) {
  const rows = events.length === 0 ? [{ id: '', empty: true }] : events;
  keyed(
    $('events'),
    rows,
    (e) => e.id,
    makeEvent,
    (li, event) => {
      if (event.empty) return;
      const index = cluster?.nodes.findIndex((n) => n.name === event.node) ?? -1;
      className(li, `event${MAJOR.has(event.kind) ? '' : ' minor'} ${index < 0 ? '' : nodeClass(index)}`);
      text(li.querySelector('time'), format.day(event.atMs));
    },
  );
}

function makeEvent(event) {
  if (event.empty) return h('li', 'empty', 'nothing has happened yet');
  const at = h('time');
  at.dateTime = event.at;
  const what = h('div', 'what', h('span', 'kind', event.kind));
  if (event.epoch !== null) what.append(h('span', 'epoch', `epoch ${event.epoch}`));
  what.append(at);
  const li = h('li', 'event', what, h('div', 'message', event.message));
  if (event.lost !== null) li.append(lossOf(event.lost, event.kind === 'switchover'));
  return li;
}

function lossOf({ bytes, commits, unproven }, planned) {
  if (bytes === 0 && planned) return h('span', 'lost good', 'nothing was lost');
  if (bytes === 0 && unproven > 0) return h('span', 'lost bad', `${format.plural(unproven, 'write')} unproven`);
  if (bytes === 0) return h('span', 'lost good', 'no loss is known');
  const words = commits === null ? '' : `, ${format.plural(commits, 'commit')}`;
  return h('span', 'lost bad', `lost ${format.bytes(bytes)} of WAL${words}`);
}
