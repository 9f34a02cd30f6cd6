/**
 * A network inside this machine, for servers that a test cuts off from each other: each lives in a network namespace of its own, with an
 * address of its own, on a bridge in one more namespace. What is outside can only be reached from there if it is this process.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { atExit } from '../../src/embedded/exit-cleanup.ts';
import type { UnprivilegedUser } from '../../src/embedded/unprivileged-user.ts';
import { CANNOT, findProgram, needsRoot } from './needs.ts';
import { isAbandoned, ownedName } from './owned-name.ts';

/** Where `ip netns` keeps its names. */
const NAMESPACES = '/run/netns';
const PREFIX = 'fairlead-net';
/** The end of this process, among the nodes. */
export const FAIRLEAD = 'fairlead';

function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Whether this machine has no such networks: false, or why. */
export function needsNamespaces(): string | false {
  if (process.platform !== 'linux') return `${CANNOT}network namespaces are Linux's`;
  if (needsRoot()) return needsRoot();
  const missing = ['ip', 'iptables', 'nsenter'].find((program) => findProgram(program) === null);
  if (missing !== undefined) return `no program ${missing} in PATH`;
  try {
    new PrivateNetwork(['probe']).remove();
    return false;
  } catch (error) {
    return `${CANNOT}no network namespaces: ${(error as Error).message.split('\n').slice(0, 2).join(' ')}`;
  }
}

/** Removes the networks of processes that are gone. @returns their names */
export function removeAbandonedNetworks(): string[] {
  const abandoned = namespaces().filter((name) => isAbandoned(PREFIX, name));
  for (const name of abandoned) removeNamespace(name);
  return abandoned;
}

/** Another test file may remove what is abandoned at the same time. */
function removeNamespace(name: string): void {
  try {
    run('ip', 'netns', 'del', name);
  } catch (error) {
    if (namespaces().includes(name)) throw error;
  }
}

function namespaces(): string[] {
  try {
    return readdirSync(NAMESPACES);
  } catch {
    return [];
  }
}

/** The addresses 10.x.y.0/24; x and y go by this process, so that neighbours have others. */
function freeSubnet(): string {
  const taken = run('ip', '-4', '-o', 'addr') + run('ip', '-4', 'route');
  for (let i = 0; i < 100; i++) {
    const number = (process.pid * 7 + i) % (100 * 256);
    const subnet = `10.${100 + (number >> 8)}.${number & 255}.`;
    if (!taken.includes(` ${subnet}`)) return subnet;
  }
  throw new Error('no free addresses below 10.0.0.0/8');
}

export class PrivateNetwork {
  /** As pg_hba.conf names it. */
  readonly range: string;
  readonly #subnet: string;
  readonly #name: string;
  readonly #link: string;
  readonly #nodes: readonly string[];
  readonly #forget: () => void;

  /** @throws Error when the machine does not allow it; nothing is left then */
  constructor(nodes: readonly string[]) {
    removeAbandonedNetworks();
    this.#nodes = nodes;
    this.#subnet = freeSubnet();
    this.range = `${this.#subnet}0/24`;
    this.#name = ownedName(PREFIX);
    // a name of an interface has at most 15 letters
    this.#link = `flt${process.pid.toString(36)}x${this.#name.split('-').at(-1)}`;
    this.#forget = atExit(() => this.#destroy());
    try {
      this.#create();
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Of a node, or of this process. */
  address(name: string): string {
    return this.#subnet + (name === FAIRLEAD ? 1 : this.#nodes.indexOf(name) + 2);
  }

  /** Enters the node's namespace and leaves our rights behind. */
  launcher(node: string, user: UnprivilegedUser | null): readonly string[] {
    const rights = user === null ? [] : ['--setgid', String(user.gid), '--setuid', String(user.uid)];
    return ['nsenter', `--net=${NAMESPACES}/${this.#of(node)}`, ...rights];
  }

  /** From here on no packet from one end reaches the other; the way back stays open. Nobody is told: packets just vanish. */
  cutOneWay(from: string, to: string): void {
    if (to === FAIRLEAD) this.#rule(from, 'OUTPUT', '-d', this.address(to));
    else this.#rule(to, 'INPUT', '-s', this.address(from));
  }

  cut(one: string, other: string): void {
    this.cutOneWay(one, other);
    this.cutOneWay(other, one);
  }

  /** From everybody. */
  isolate(node: string): void {
    for (const other of [FAIRLEAD, ...this.#nodes]) if (other !== node) this.cut(node, other);
  }

  /** Puts every link back. */
  heal(): void {
    for (const node of this.#nodes) this.#in(node, 'iptables', '-w', '-F');
  }

  /** When nothing runs in it any more. */
  remove(): void {
    this.#forget();
    this.#destroy();
  }

  #of(node: string): string {
    return `${this.#name}-${node}`;
  }

  #in(node: string, ...command: readonly string[]): void {
    run('ip', 'netns', 'exec', this.#of(node), ...command);
  }

  #rule(node: string, chain: string, ...match: readonly string[]): void {
    this.#in(node, 'iptables', '-w', '-A', chain, ...match, '-j', 'DROP');
  }

  #create(): void {
    const hub = this.#of('hub');
    run('ip', 'netns', 'add', hub);
    run('ip', '-n', hub, 'link', 'add', 'bridge', 'type', 'bridge');
    run('ip', '-n', hub, 'link', 'set', 'bridge', 'up');
    const plug = (end: readonly string[], link: string, name: string) => {
      run('ip', ...end, 'link', 'add', link, 'type', 'veth', 'peer', 'name', name, 'netns', hub);
      run('ip', '-n', hub, 'link', 'set', name, 'master', 'bridge', 'up');
      run('ip', ...end, 'addr', 'add', `${this.address(name)}/24`, 'dev', link);
      run('ip', ...end, 'link', 'set', link, 'up');
    };
    plug([], this.#link, FAIRLEAD);
    for (const node of this.#nodes) {
      run('ip', 'netns', 'add', this.#of(node));
      run('ip', '-n', this.#of(node), 'link', 'set', 'lo', 'up');
      plug(['-n', this.#of(node)], 'wire', node);
    }
  }

  #destroy(): void {
    // the other ends of all wires are in the hub, and go with it
    for (const name of namespaces().filter((name) => name.startsWith(`${this.#name}-`)))
      run('ip', 'netns', 'del', name);
  }
}
