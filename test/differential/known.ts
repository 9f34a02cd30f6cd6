/** What is known to be different through the proxy. The same list, for users: docs/compatibility.md. */
export type Deviation = {
  /** Of conversations, by their names. */
  readonly in: RegExp;
  readonly why: string;
  /** It depends on what ran before on the server connection, or on time, whether it shows. */
  readonly sometimes?: true;
  /** The major version of PostgreSQL from which on it is so. */
  readonly since?: number;
};

export const KNOWN: readonly Deviation[] = [
  {
    in: /^a custom setting in a transaction /,
    why: 'that a setting was once used is remembered by the server connection, not by the session',
    sometimes: true,
  },
  {
    in: /^sequence of the session /,
    why: 'the first currval or lastval of a user on a connection that is not its own is an error',
    sometimes: true,
  },
  {
    in: /^startup settings \(/,
    why: 'RESET falls back to the server’s value first, then to the startup value: ParameterStatus tells both, and statements of the same text see the former',
  },
  {
    in: /^startup settings of a dialect \((simple|extended)\)/,
    why: 'as above',
  },
  {
    in: /^startup settings of a dialect \(named\)/,
    why: 'a statement is parsed again on another server connection, with the warnings that its text gives',
  },
  {
    in: /^a cached plan and new types/,
    why: 'the statement is prepared again',
    sometimes: true,
  },
  {
    // 13 reports an error and goes on, as the session does
    in: /^in and (a query|a Parse) meanwhile/,
    why: 'the session outlives its server connection: the client hears of the loss as an error',
    since: 14,
  },
  {
    in: /^(in and the end of the client|a server process that)/,
    why: 'the session outlives its server connection: the client hears of the loss as an error',
  },
  {
    in: /^a query in the place of Sync$/,
    why: 'PostgreSQL’s own internal error in what follows is not met where another server connection serves it',
    sometimes: true,
  },
  {
    in: /^(a query without its end|a Sync that is too long)$/,
    why: 'malformed messages end the session; what is not read is not complained of',
  },
];

export function deviationOf(name: string, major: number): Deviation | null {
  return KNOWN.find((deviation) => major >= (deviation.since ?? 0) && deviation.in.test(name)) ?? null;
}
