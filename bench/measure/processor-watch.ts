import { familyOf, type ProcessorTime, processorTimeOf } from './processor-time.ts';

/** Often enough to leave out the logins at the start of a run of a second, and seldom enough not to disturb it. */
const EVERY_MS = 200;

type Reading = { readonly atMs: number; readonly time: ProcessorTime };

/** Reads the processor time of a process now and then, so that afterwards any part of a run can be looked at. */
export class ProcessorWatch {
  readonly #family: readonly number[];
  readonly #readings: Reading[] = [];
  #timer: NodeJS.Timeout | null = null;

  /** @param pid null: nobody is watched */
  constructor(pid: number | null) {
    this.#family = pid === null ? [] : familyOf(pid);
  }

  start(): void {
    if (this.#family.length === 0) return;
    this.#read();
    this.#timer = setInterval(() => this.#read(), EVERY_MS);
  }

  stop(): void {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    this.#read();
  }

  /**
   * Processor time, in microseconds, that went by per second of the part of the run from `sinceMs` after the start on; null when nobody was
   * watched or too little of the run is left.
   */
  perSecond(sinceMs: number): ProcessorTime | null {
    const began = this.#readings[0]?.atMs ?? 0;
    const first = this.#readings.find(({ atMs }) => atMs - began >= sinceMs);
    const last = this.#readings.at(-1);
    if (first === undefined || last === undefined || first === last) return null;
    const seconds = (last.atMs - first.atMs) / 1000;
    return {
      user: (last.time.user - first.time.user) / seconds,
      kernel: (last.time.kernel - first.time.kernel) / seconds,
    };
  }

  #read(): void {
    this.#readings.push({ atMs: performance.now(), time: processorTimeOf(this.#family) });
  }
}
