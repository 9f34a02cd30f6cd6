/** Samples as columns for uPlot: five minutes, oldest first, seconds since 1970 in the first column. */
import { SPAN_S } from './plots.js';

/** A few seconds more than what is drawn, so that lines begin at the edge. */
const KEEP_S = SPAN_S + 5;

export class Columns {
  #columns;

  constructor(width) {
    this.#columns = Array.from({ length: width + 1 }, () => []);
  }

  get data() {
    return this.#columns;
  }

  get newestS() {
    return this.#columns[0].at(-1) ?? 0;
  }

  /** Adds a row; one that is not newer than the last is ignored. */
  push(atS, values) {
    if (atS <= this.newestS) return;
    this.#columns[0].push(atS);
    for (let i = 1; i < this.#columns.length; i++) this.#columns[i].push(values[i - 1] ?? null);
    let old = 0;
    while (this.#columns[0][old] < atS - KEEP_S) old++;
    if (old > 0) for (const column of this.#columns) column.splice(0, old);
  }
}
