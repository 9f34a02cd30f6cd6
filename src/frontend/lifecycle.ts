/**
 * `serving`; `waiting`: no new clients, those there stay as long as they like; `draining`: no new clients, those there are ended as
 * soon as they are idle outside of a transaction.
 */
export type LifecycleState = 'serving' | 'waiting' | 'draining';

/** Whether clients are taken, and kept. Goes one way only. */
export class Lifecycle {
  #state: LifecycleState = 'serving';

  get state(): LifecycleState {
    return this.#state;
  }

  get draining(): boolean {
    return this.#state === 'draining';
  }

  wait(): void {
    if (this.#state === 'serving') this.#state = 'waiting';
  }

  drain(): void {
    this.#state = 'draining';
  }
}
