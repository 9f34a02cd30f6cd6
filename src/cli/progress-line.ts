import { nowMs } from '../core/clock.ts';

/** What is under way, as it is told to a person: a stage, and where something is counted, how much of it. */
export type ProgressAt = {
  readonly stage: string;
  readonly doneBytes: number | null;
  readonly totalBytes: number | null;
};

const BAR_CELLS = 24;
/** The time that is left is guessed from the speed since the stage began, once that means something. */
const GUESS_AFTER_MS = 1000;

/** Shows progress on stderr: a line that changes on a terminal, a line for each stage elsewhere. */
export class ProgressLine {
  readonly #stream: { write(text: string): unknown; readonly isTTY?: boolean };
  #shown: ProgressAt | null = null;
  #sinceMs = 0;
  #fromBytes = 0;

  constructor(stream: { write(text: string): unknown; readonly isTTY?: boolean } = process.stderr) {
    this.#stream = stream;
  }

  show(at: ProgressAt): void {
    const before = this.#shown;
    this.#shown = at;
    if (before?.stage !== at.stage || (before?.doneBytes === null) !== (at.doneBytes === null)) {
      this.#sinceMs = nowMs();
      this.#fromBytes = at.doneBytes ?? 0;
      if (this.#stream.isTTY && before !== null) this.#stream.write('\n');
      if (!this.#stream.isTTY && before?.stage !== at.stage) this.#stream.write(`${at.stage}\n`);
    }
    if (this.#stream.isTTY) this.#stream.write(`\r\x1b[K${this.#text(at)}`);
  }

  /** What was on the line stays there. */
  end(): void {
    if (this.#stream.isTTY && this.#shown !== null) this.#stream.write('\n');
    this.#shown = null;
  }

  #text({ stage, doneBytes, totalBytes }: ProgressAt): string {
    if (doneBytes === null || totalBytes === null) return stage;
    return `${stage}  ${progressText(doneBytes, totalBytes, doneBytes - this.#fromBytes, nowMs() - this.#sinceMs)}`;
  }
}

/** `[======------]  50 %  64 of 128 MB, 32 MB/s, 2 s left`. @param movedBytes in the last `tookMs` */
export function progressText(doneBytes: number, totalBytes: number, movedBytes: number, tookMs: number): string {
  const part = totalBytes === 0 ? 1 : Math.min(1, doneBytes / totalBytes);
  const full = Math.round(part * BAR_CELLS);
  const bar = `[${'='.repeat(full)}${'-'.repeat(BAR_CELLS - full)}] ${String(Math.floor(part * 100)).padStart(3)} %`;
  const amount = `${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB`;
  if (tookMs < GUESS_AFTER_MS || movedBytes <= 0) return `${bar}  ${amount}`;
  const bytesPerMs = movedBytes / tookMs;
  const leftS = Math.ceil((totalBytes - doneBytes) / bytesPerMs / 1000);
  return `${bar}  ${amount}, ${megabytes(bytesPerMs * 1000)} MB/s, ${timeText(leftS)} left`;
}

function megabytes(bytes: number): string {
  const mb = bytes / 1024 ** 2;
  return mb < 10 ? mb.toFixed(1) : String(Math.round(mb));
}

function timeText(seconds: number): string {
  if (seconds < 90) return `${seconds} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
