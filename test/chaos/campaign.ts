/** Rounds of faults under load. After each the cluster is made whole again, and what clients were told is compared with what is there. */
import { copyFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { messageOf } from '../../src/core/errors.ts';
import { sleep } from '../../src/core/sleep.ts';
import { type Random, randomFrom } from '../support/random.ts';
import { until } from '../support/wait.ts';
import { Arena } from './arena.ts';
import { Clients } from './clients.ts';
import { FAULTS, type Fault } from './faults.ts';
import { canPartition } from './partition.ts';
import { overlapsOf, type Sample, Sampler } from './sampler.ts';
import { idsThere } from './truth.ts';
import { type Counts, judge } from './verdict.ts';

export type CampaignOptions = {
  readonly mode: 'async' | 'sync' | 'quorum';
  readonly seed: number;
  /** Number of the first round. */
  readonly from: number;
  readonly rounds: number;
  readonly pgBin?: string | undefined;
  /** Logs of rounds that failed go here, by mode, seed and round. */
  readonly logs: string;
  /** Only faults whose name contains this. */
  readonly only?: string | undefined;
};

export type Round = {
  readonly number: number;
  readonly fault: string;
  readonly notes: readonly string[];
  readonly counts: Counts | null;
  /** Longest time between two acknowledged writes. */
  readonly gapMs: number;
  /** Writes went on before anything that was broken was mended. */
  readonly alone: boolean;
  readonly reads: number;
  /** What reads failed with. */
  readonly readErrors: readonly string[];
  readonly codes: Readonly<Record<string, number>>;
  readonly violations: readonly string[];
  readonly tookMs: number;
};

export type Played = { readonly version: string; readonly rounds: readonly Round[] };

const TIMEOUT_MS = 1500;
const RESUME_MS = TIMEOUT_MS + 15_000;
const AFTERMATH_MS = 300;
const PROBES = { probe_interval: '200ms', probe_timeout: '700ms' };
const LOAD = { writers: 6, readers: 2, pinned: 1, pauseMs: 4 };

/** A cluster with its clients, which lasts until it cannot be made whole. */
class Scene {
  readonly arena: Arena;
  readonly clients: Clients;
  readonly sampler: Sampler;

  private constructor(arena: Arena, clients: Clients) {
    this.arena = arena;
    this.clients = clients;
    this.sampler = new Sampler(arena.cluster.nodes);
  }

  static async start({ mode, pgBin, seed, logs }: CampaignOptions): Promise<Scene> {
    const directory = join(logs, `${mode}-${process.pid}`);
    mkdirSync(directory, { recursive: true });
    const arena = await Arena.start({
      mode,
      pgBin,
      directory,
      failover: { timeout: TIMEOUT_MS, max_promotions: 1000 },
      probes: PROBES,
    });
    try {
      return new Scene(arena, await Clients.start(arena.url, { ...LOAD, seed }, () => arena.fairlead.generation));
    } catch (error) {
      await arena.stop();
      throw error;
    }
  }

  async version(): Promise<string> {
    const [node] = this.arena.cluster.nodes;
    const rows = await node?.query<{ version: string }>(`SELECT current_setting('server_version') AS version`);
    return rows?.[0]?.version ?? '';
  }

  async stop(): Promise<void> {
    await this.clients.stop();
    await this.sampler.stop();
    await this.arena.stop();
  }
}

/** @param told of every round when it is over */
export async function campaign(options: CampaignOptions, told: (round: Round) => void): Promise<Played> {
  const rounds: Round[] = [];
  let version = '';
  let scene: Scene | null = null;
  try {
    for (let number = options.from; number < options.from + options.rounds; number++) {
      scene ??= await Scene.start(options);
      version ||= await scene.version();
      const { round, usable } = await play(scene, options, number);
      rounds.push(round);
      told(round);
      if (!usable) {
        const broken: Scene = scene;
        scene = null;
        await broken.stop();
      }
    }
  } finally {
    await scene?.stop();
  }
  return { version, rounds };
}

/** The same for a seed and a number, whatever was before. */
function choose({ seed, only = '' }: CampaignOptions, number: number): { fault: Fault; random: Random } {
  const random = randomFrom(seed * 1009 + number);
  // the first numbers of neighbouring seeds are alike
  for (let i = 0; i < 5; i++) random.int(2);
  const possible = FAULTS.filter(({ name }) => name.includes(only) && (canPartition() || !name.startsWith('cut')));
  const fault = possible[random.int(possible.length)];
  if (fault === undefined) throw new RangeError(`no fault ${only}`);
  return { fault, random };
}

async function play(
  scene: Scene,
  options: CampaignOptions,
  number: number,
): Promise<{ round: Round; usable: boolean }> {
  const { arena, clients, sampler } = scene;
  const { fault, random } = choose(options, number);
  const startedMs = Date.now();
  const notes: string[] = [];
  const violations: string[] = [];
  const logged = new Map(arena.logs.map((file) => [file, statSync(file).size]));
  const known = new Set((await arena.fairlead.events()).map(({ id }) => id));
  const first = clients.next;
  const primary = await arena.primary();
  const stage = {
    ...{ arena, random, timeoutMs: TIMEOUT_MS, primary, mode: options.mode },
    replicas: arena.names.filter((name) => name !== primary),
    note: (text: string) => void notes.push(text),
  };
  sampler.take();
  clients.resume();
  let counts: Counts | null = null;
  let alone = false;
  let samples: Sample[] = [];
  try {
    await until(() => clients.acknowledged.length >= 50, { what: '50 writes', timeoutMs: 30_000 });
    await sleep(random.int(500));
    await fault.run(stage);
    alone = await resumed(clients);
    if (fault.alone && !alone) violations.push(`no write within ${RESUME_MS} ms`);
    await sleep(random.int(1000));
    await arena.recover();
    await resumed(clients);
    await clients.pause();
    samples = sampler.take();
    const there = await idsThere(arena, first);
    const judged = judge({
      ...{ mode: options.mode, primary, entries: clients.entries, doubts: clients.doubts, there },
      ...{ drops: clients.drops, readErrors: clients.readErrors, generation: arena.fairlead.generation },
      events: (await arena.fairlead.events()).filter(({ id }) => !known.has(id)),
      overlaps: overlapsOf(samples),
    });
    counts = judged.counts;
    violations.push(...judged.violations);
  } catch (error) {
    violations.push(messageOf(error));
  }
  const round: Round = {
    ...{ number, fault: fault.name, notes, counts, alone, violations, reads: clients.reads },
    gapMs: gapOf(clients),
    readErrors: [...new Set(clients.readErrors.map(({ error }) => error))],
    codes: codesOf(clients),
    tookMs: Date.now() - startedMs,
  };
  if (violations.length > 0) keep(options, round, scene, samples, logged);
  return { round, usable: counts !== null };
}

/** @returns whether writes go on by themselves */
async function resumed(clients: Clients): Promise<boolean> {
  // servers without a postmaster go on for a moment
  await sleep(AFTERMATH_MS);
  const nowMs = Date.now();
  const again = () => clients.acknowledgedAfter(nowMs);
  return until(again, { what: 'a write', timeoutMs: RESUME_MS }).then(
    () => true,
    () => false,
  );
}

function gapOf(clients: Clients): number {
  const ended = clients.acknowledged.map(({ endedMs }) => endedMs).sort((a, b) => a - b);
  return ended.reduce((most, ms, index) => Math.max(most, ms - (ended[index - 1] ?? ms)), 0);
}

function codesOf(clients: Clients): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { code, writer } of clients.entries) {
    if (code === null) continue;
    const told = writer < LOAD.writers ? code : `pinned: ${code}`;
    counts[told] = (counts[told] ?? 0) + 1;
  }
  return counts;
}

/** Everything that tells what happened in a round. */
function keep(
  { logs, mode, seed }: CampaignOptions,
  round: Round,
  { arena, clients }: Scene,
  samples: readonly Sample[],
  logged: ReadonlyMap<string, number>,
): void {
  const directory = join(logs, `${mode}-seed-${seed}-round-${round.number}`);
  mkdirSync(directory, { recursive: true });
  const { entries, doubts, drops, readErrors } = clients;
  writeFileSync(
    join(directory, 'round.json'),
    JSON.stringify({ round, entries, doubts, drops, readErrors, samples, from: Object.fromEntries(logged) }, null, 1),
  );
  for (const file of arena.logs) {
    const name = file.includes('.fairlead/') ? `${basename(join(file, '..'))}-${basename(file)}` : basename(file);
    copyFileSync(file, join(directory, name));
  }
}
