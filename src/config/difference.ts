import type { Config } from './config.ts';
import type { Address } from './units.ts';

/** One key whose value differs. Values of secrets are never in it. */
export type Change = {
  /** Dotted path, for example `routing.max_lag`. */
  readonly key: string;
  /** False: takes effect only after a restart. */
  readonly live: boolean;
  /** One sentence for people. */
  readonly text: string;
};

/** Sections that are read anew for every statement, login or checkout. */
const LIVE = [
  'routing.',
  'pool.',
  'databases',
  'users',
  'auth.',
  'tls.',
  'failover.hold',
  'failover.outcomes',
  'shutdown_timeout',
];
const SECRET = /(^|[._])(password|token|http_token|key)$/;

/** True when a reload changes it without a restart. */
export function isLive(key: string): boolean {
  return LIVE.some((prefix) => key.startsWith(prefix));
}

/** True when the value must not be shown. @param key dotted path */
export function isSecret(key: string): boolean {
  return SECRET.test(key);
}

/** What differs between the configuration in force and one that was read, key by key. */
export function difference(before: Config, after: Config): Change[] {
  const old = flatten(before);
  const now = flatten(after);
  const inForce = flatten(afterReload(before, after));
  const keys = [...new Set([...old.keys(), ...now.keys()])].filter((key) => old.get(key) !== now.get(key));
  return keys.map((key) => {
    const live = inForce.get(key) === now.get(key);
    const show = (value: string | undefined) => (value === undefined ? '(not set)' : isSecret(key) ? '…' : value);
    const text = `${key}: ${show(old.get(key))} → ${show(now.get(key))}`;
    return { key, live, text: live ? text : `${text} (takes effect after a restart)` };
  });
}

/** The configuration in force after a reload: what cannot change while running stays as it was. */
export function afterReload(running: Config, read: Config): Config {
  const { routing, pool, databases, users, auth, tls, shutdown_timeout } = read;
  const live = { routing, pool, databases, users, auth, tls, shutdown_timeout };
  const { hold, outcomes } = read.failover;
  const nodes = { ...running.cluster.nodes, ...newcomers(running, read) };
  return {
    ...running,
    ...live,
    cluster: { ...running.cluster, nodes },
    failover: { ...running.failover, hold, outcomes },
  };
}

/** The configuration without some of its nodes. */
export function withoutNodes(config: Config, names: readonly string[]): Config {
  const nodes = Object.entries(config.cluster.nodes).filter(([name]) => !names.includes(name));
  return { ...config, cluster: { ...config.cluster, nodes: Object.fromEntries(nodes) } };
}

/** Nodes that are taken in while running: new ones at addresses of their own. What is renamed, moved or left out waits for a restart. */
function newcomers(running: Config, read: Config): Config['cluster']['nodes'] {
  const there = running.cluster.nodes;
  const text = ({ host, port }: Address) => `${host.toLowerCase()}:${port}`;
  const taken = new Set(Object.values(there).map(({ address }) => text(address)));
  const joins = ([name, { address }]: [string, { address: Address }]) =>
    !Object.hasOwn(there, name) && !taken.has(text(address));
  return Object.fromEntries(Object.entries(read.cluster.nodes).filter(joins));
}

function flatten(value: unknown, path = '', into = new Map<string, string>()): Map<string, string> {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(inner, path === '' ? key : `${path}.${key}`, into);
  } else into.set(path, JSON.stringify(value));
  return into;
}
