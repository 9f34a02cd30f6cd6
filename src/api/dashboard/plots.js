/** Lag, throughput and latency of the last five minutes, drawn by uPlot. */
import { $, h, keyed, nodeClass, text } from './dom.js';
import * as format from './format.js';
import uPlot from './uplot.js';

export const SPAN_S = 300;
const MINUTES = [5, 4, 3, 2, 1, 0];
const TIME_TICKS = [0, 1, 10, 100, 1000, 10_000, 60_000, 600_000, 3_600_000];
const BYTE_TICKS = [0, 1, 16, 256, 4096, 65_536, 1_048_576].map((n) => n * 1024);
const LATENCY_TICKS = [0, 0.1, 1, 10, 100, 1000, 10_000];
/** Width of a mark's word, and how many stand below each other. */
const WORD_PX = 66;
const WORD_LINES = 3;
const MARKED = new Set(['failover', 'switchover']);

/**
 * Linear near zero, logarithmic above: an idle replica's 0, a healthy one's 2 ms and a stuck one's 5 minutes all show.
 * @param {number} knee where linear ends
 */
function bentScale(knee, floor) {
  return { distr: 4, asinh: knee, range: (_u, _min, max) => [0, Math.max(floor, (max ?? 0) * 1.6)] };
}

const KINDS = {
  'lag-ms': { y: bentScale(1, 30), ticks: TIME_TICKS, format: format.time },
  'lag-bytes': { y: bentScale(1024, 64 * 1024), ticks: BYTE_TICKS, format: format.bytes },
  throughput: {
    y: { range: (_u, _min, max) => [0, Math.max(10, (max ?? 0) * 1.15)] },
    ticks: null,
    format: (n) => format.count(n),
  },
  latency: { y: bentScale(0.1, 3), ticks: LATENCY_TICKS, format: format.time },
};

export class Plots {
  #plots = new Map();
  #nodes = [];
  #marks = [];
  /** Rows of the newest data per plot, for the legends. */
  #data = new Map();

  constructor() {
    new ResizeObserver(() => this.#resize()).observe($('lag-ms'));
    addEventListener('resize', () => this.#resize());
    // canvases do not follow CSS variables by themselves
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#build());
  }

  /** @param {readonly {name: string}[]} nodes in their places */
  setNodes(nodes) {
    if (nodes.length === this.#nodes.length) return;
    this.#nodes = nodes.map((n) => n.name);
    this.#build();
  }

  setEvents(events) {
    this.#marks = events.filter((e) => MARKED.has(e.kind)).map((e) => ({ at: e.atMs / 1000, kind: e.kind }));
  }

  /** @param data columns for uPlot, the first is seconds since 1970 */
  setData(id, data, nowS) {
    this.#data.set(id, data);
    const plot = this.#plots.get(id);
    if (plot === undefined) return;
    plot.batch(() => {
      plot.setData(data, false);
      plot.setScale('x', { min: nowS - SPAN_S, max: nowS });
    });
    if (plot.cursor.idx === null || plot.cursor.idx === undefined) this.#legend(id, data[0].length - 1);
  }

  #build() {
    for (const plot of this.#plots.values()) plot.destroy();
    this.#plots.clear();
    if (this.#nodes.length === 0) return;
    for (const id of Object.keys(KINDS)) this.#plots.set(id, new uPlot(this.#options(id), this.#data.get(id), $(id)));
  }

  #resize() {
    for (const [id, plot] of this.#plots) {
      const { width, height } = $(id).getBoundingClientRect();
      if (width > 0 && height > 0) plot.setSize({ width, height });
    }
  }

  #options(id) {
    const kind = KINDS[id];
    const ink = token('--ink-3');
    const grid = { stroke: token('--grid'), width: 1 };
    const font = `${Math.round(rem() * 0.83)}px ${getComputedStyle(document.documentElement).fontFamily}`;
    const { width, height } = $(id).getBoundingClientRect();
    const axis = { stroke: ink, grid, ticks: { show: false }, font };
    return {
      width,
      height,
      legend: { show: false },
      padding: [8, 18, 0, 0],
      cursor: {
        y: false,
        drag: { setScale: false, x: false, y: false },
        sync: { key: 'fairlead' },
        points: { size: 7 },
      },
      scales: { x: { time: true }, y: kind.y },
      series: [{}, ...seriesOf(id, this.#nodes).map((s) => lineOf(s))],
      axes: [
        {
          ...axis,
          size: 30,
          gap: 9,
          splits: (u) => MINUTES.map((m) => u.scales.x.max - m * 60),
          values: () => MINUTES.map((m) => (m === 0 ? 'now' : `−${m} min`)),
          filter: (u, splits) => (u.width < 420 ? splits.map((s, i) => (i % 2 === 1 ? s : null)) : splits),
        },
        {
          ...axis,
          size: Math.round(rem() * 4.2),
          values: (_u, splits) => splits.map((v) => kind.format(v).replace(/\.0+(?!\d)/, '')),
          ...(kind.ticks === null ? {} : { splits: (u) => ticksFor(u, kind.ticks), filter: (_u, splits) => splits }),
        },
      ],
      hooks: {
        draw: [(u) => this.#drawMarks(u)],
        setCursor: [(u) => this.#legend(id, u.cursor.idx ?? u.data[0].length - 1)],
      },
    };
  }

  #drawMarks(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = token('--bad');
    ctx.fillStyle = token('--bad');
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.font = `${11 * devicePixelRatio}px sans-serif`;
    // words of marks close to each other stand below each other
    let [line, lastX] = [0, Number.NEGATIVE_INFINITY];
    for (const mark of this.#marks.toSorted((a, b) => a.at - b.at)) {
      if (mark.at < u.scales.x.min || mark.at > u.scales.x.max) continue;
      const x = u.valToPos(mark.at, 'x', true);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const onRight = x < bbox.left + bbox.width * 0.8;
      ctx.textAlign = onRight ? 'left' : 'right';
      line = x - lastX < WORD_PX * devicePixelRatio ? (line + 1) % WORD_LINES : 0;
      lastX = x;
      const y = bbox.top + (11 + 13 * line) * devicePixelRatio;
      ctx.fillText(mark.kind, x + (onRight ? 5 : -5) * devicePixelRatio, y);
    }
    ctx.restore();
  }

  /** Values under the cursor, or the newest. */
  #legend(id, index) {
    const data = this.#data.get(id);
    const series = seriesOf(id, this.#nodes);
    const rows = series.map((s, i) => ({ ...s, value: data?.[i + 1]?.[index] }));
    const shown = id.startsWith('lag') ? rows.filter((r) => r.value !== null && r.value !== undefined) : rows;
    keyed(
      $(`${id}-legend`),
      shown,
      (r) => r.label,
      makeEntry,
      (entry, r) => {
        const value = KINDS[id].format(r.value);
        text(entry.lastChild, id === 'throughput' && value !== format.DASH ? `${value}/s` : value);
      },
    );
  }
}

function makeEntry(series) {
  const style = `swatch${series.dash ? ' dashed' : ''}${series.faint ? ' faint' : ''}`;
  const color = series.node === undefined ? '' : nodeClass(series.node);
  return h('li', color, h('span', style), h('span', '', series.label), h('span', 'value'));
}

/** Colour is the node; classes of statements differ by line. */
function seriesOf(id, nodes) {
  if (id !== 'latency') return nodes.map((label, node) => ({ label, node }));
  return [
    { label: 'read p50', faint: true },
    { label: 'read p99' },
    { label: 'write p50', dash: true, faint: true },
    { label: 'write p99', dash: true },
  ];
}

function lineOf(series) {
  const stroke = series.node === undefined ? token('--ink') : token(`--n${series.node % 8}`);
  return {
    label: series.label,
    stroke,
    alpha: series.faint ? 0.5 : 1,
    width: 1.75,
    ...(series.dash ? { dash: [6, 5] } : {}),
    points: { show: false },
    spanGaps: false,
  };
}

/** Those that fit, at least 18 pixels apart. */
function ticksFor(u, ticks) {
  const height = u.bbox.height / devicePixelRatio;
  let last = Number.POSITIVE_INFINITY;
  return ticks.filter((value) => {
    if (value > u.scales.y.max) return false;
    const y = u.valToPos(value, 'y');
    if (value !== 0 && (last - y < 18 || y < 4)) return false;
    last = Number.isFinite(y) ? y : height;
    return true;
  });
}

/** Canvas text scales with the page's. */
function rem() {
  return Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
}

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
