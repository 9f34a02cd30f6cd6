import { nowMs } from '../core/clock.ts';
import type { Request } from './state.ts';

/** How an operator's request ended. */
export type Result = {
  readonly primary: string;
  readonly epoch: number;
  readonly timeline: number;
  /** From the request until the new primary had its replicas. */
  readonly tookMs: number;
};

/** What an operator waits for. */
export class Asked {
  readonly request: Request;
  readonly startedMs = nowMs();
  readonly result: Promise<Result>;
  /** True when it was done, false when it was not. */
  readonly ended: Promise<boolean>;
  /** It has begun. */
  taken = false;
  #resolve: (result: Result) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor(request: Request) {
    this.request = request;
    this.result = new Promise<Result>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.ended = this.result.then(
      () => true,
      () => false,
    );
  }

  resolve(result: Result): void {
    this.#resolve(result);
  }

  reject(error: unknown): void {
    this.#reject(error);
  }
}
