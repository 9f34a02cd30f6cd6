import type { Conversation, Step, Until } from '../support/differential.ts';
import {
  bind,
  closeStatement,
  describePortal,
  describeStatement,
  execute,
  parse,
  q,
  sync,
} from '../support/raw-client.ts';

/** The ways in which drivers send the same statements. */
export const MODES = ['simple', 'string', 'extended', 'named', 'pipeline'] as const;
export type Mode = (typeof MODES)[number];

/** Statements that are sent in every mode. `b: …` is said by a second session called b. */
export type Script = {
  readonly name: string;
  readonly sql: readonly string[];
  readonly setup?: string;
  readonly cleanup?: string;
  /** All when left out. */
  readonly modes?: readonly Mode[];
  /** Startup parameters of the first session. */
  readonly connect?: Readonly<Record<string, string>>;
};

export function send(bytes: readonly Buffer[], until: Until = syncs(bytes), session = 'a'): Step {
  return { kind: 'send', session, bytes, until };
}

/** Queries, Syncs and FunctionCalls: each has its ReadyForQuery unless it stands in a COPY. */
function syncs(bytes: readonly Buffer[]): number {
  return bytes.filter((m) => 'QSF'.includes(String.fromCharCode(m[0] as number))).length;
}

/** The conversations that a script makes, one for each mode. */
export function conversationsOf(script: Script): Conversation[] {
  const spoken = script.sql.map((text) => {
    const [, session, rest] = /^([a-z]): (.*)$/s.exec(text) ?? [];
    return session === undefined ? { session: 'a', text } : { session, text: rest as string };
  });
  const several = spoken.some(({ session }) => session !== 'a');
  const modes = script.modes ?? (several ? MODES.filter((mode) => mode !== 'string' && mode !== 'pipeline') : MODES);
  const { setup, cleanup } = script;
  const connect: Step[] =
    script.connect === undefined ? [] : [{ kind: 'connect', session: 'a', parameters: script.connect }];
  return modes.map((mode) => ({
    name: `${script.name} (${mode})`,
    ...(setup === undefined ? {} : { setup }),
    ...(cleanup === undefined ? {} : { cleanup }),
    steps: [...connect, ...stepsOf(spoken, mode)],
  }));
}

type Spoken = { readonly session: string; readonly text: string };

function stepsOf(spoken: readonly Spoken[], mode: Mode): Step[] {
  switch (mode) {
    case 'simple':
      return spoken.map(({ session, text }) => send([q(text)], 1, session));
    case 'string':
      return [send([q(spoken.map(({ text }) => text).join('; '))])];
    case 'extended':
      return spoken.map(({ session, text }) =>
        send([parse(text), bind(), describePortal(), execute(), sync], 1, session),
      );
    case 'named':
      return spoken.flatMap(({ session, text }, i) => [
        send([parse(text, `s${i}`), describeStatement(`s${i}`), sync], 1, session),
        send([bind(`s${i}`, { binaryResults: true }), execute(), sync], 1, session),
        ...(i % 2 === 0 ? [] : [send([closeStatement(`s${i}`), sync], 1, session)]),
      ]);
    case 'pipeline':
      return [send([...spoken.flatMap(({ text }) => [parse(text), bind(), describePortal(), execute()]), sync])];
    default:
      return mode satisfies never;
  }
}
