import { nowMs } from '../core/clock.ts';
import { FairleadError } from '../core/errors.ts';
import type { FairleadCommand, Verdict } from '../sql/verdict.ts';
import type { LocalResult } from './local-answer.ts';
import type { Services } from './services.ts';
import type { Session } from './session.ts';

const ROUTE_COLUMNS = ['node', 'class', 'reason'] as const;

/** `SET fairlead.*` and `SHOW fairlead.*`: answered here, never sent to a server. */
export class LocalCommands {
  readonly #session: Session;
  readonly #services: Services;

  constructor(session: Session, services: Services) {
    this.#session = session;
    this.#services = services;
  }

  /** Gets what the commands need: a token must cover everything the session has done, which may take one round trip to the primary. */
  prepare(commands: readonly FairleadCommand[], then: (error: FairleadError | null) => void): void {
    if (!commands.some((c) => c.kind === 'show' && c.name === 'token')) return then(null);
    const { cluster } = this.#services;
    const { causality } = this.#session;
    const { timeline } = cluster.topology.value;
    if (causality.settle(cluster, timeline) && causality.settleReplica(cluster)) return then(null);
    if (causality.pendingSample === 0) causality.ranOnPrimary(cluster.samples.next);
    const { deadlines } = this.#services;
    const { hold } = this.#services.config().failover;
    const late = {
      deadlineMs: Number.POSITIVE_INFINITY,
      expire() {
        unwait();
        then(new FairleadError('no_primary', `the primary did not tell its position for ${hold} ms`));
      },
    };
    const unwait = cluster.samples.wait(causality.pendingSample, () => {
      deadlines.clear(late);
      causality.settle(cluster, cluster.topology.value.timeline);
      then(null);
    });
    deadlines.set(late, nowMs() + hold);
  }

  columns(verdict: Verdict): readonly string[] | null {
    const { command } = verdict;
    if (command === null || command.kind === 'set') return null;
    return command.name === 'route' ? ROUTE_COLUMNS : [`fairlead.${command.name}`];
  }

  /** @throws FairleadError bad_parameter */
  run(verdict: Verdict, inTransaction: boolean): LocalResult {
    const command = verdict.command as FairleadCommand;
    return command.kind === 'set' ? this.#set(command, inTransaction) : this.#show(command.name);
  }

  #set(command: FairleadCommand & { kind: 'set' }, inTransaction: boolean): LocalResult {
    const { causality, options } = this.#session;
    const tag = command.value === null ? 'RESET' : 'SET';
    if (command.name === 'token') {
      if (command.value === null) return { tag, row: null };
      try {
        causality.adopt(command.value, this.#services.cluster.assignment.value.forks);
      } catch {
        throw new FairleadError(
          'bad_parameter',
          `invalid token "${command.value}"`,
          'use what SHOW fairlead.token answered',
        );
      }
      return { tag, row: null };
    }
    // outside a transaction SET LOCAL has no effect, as in PostgreSQL
    if (!command.local || inTransaction) options.set(command.name, command.value, command.local);
    return { tag, row: null };
  }

  #show(name: string): LocalResult {
    const { lastRoute, causality, options } = this.#session;
    const { routing } = this.#services.config();
    const one = (value: string): LocalResult => ({ tag: 'SHOW', row: [[`fairlead.${name}`, value]] });
    switch (name) {
      case 'route':
        return {
          tag: 'SHOW',
          row: [
            ['node', lastRoute?.node ?? null],
            ['class', lastRoute?.class ?? null],
            ['reason', lastRoute?.reason ?? null],
          ],
        };
      case 'token':
        return one(causality.token());
      case 'consistency':
        return one(options.consistency(routing.consistency));
      case 'causality':
        return one(options.causalityKey);
      case 'max_staleness':
        return one(options.maxStalenessMs === null ? '' : `${options.maxStalenessMs}ms`);
      default:
        throw new FairleadError(
          'bad_parameter',
          `unrecognized setting "fairlead.${name}"`,
          'there are route, token, consistency, max_staleness and causality',
        );
    }
  }
}
