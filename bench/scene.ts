import { execFileSync } from 'node:child_process';
import type { Contender, Stage } from './contender/contender.ts';
import { urlOf } from './contender/contender.ts';
import { startAll } from './contender/lineup.ts';
import { findProgram } from './contender/program.ts';
import { raiseFileLimit } from './measure/file-limit.ts';
import { Pgbench } from './measure/pgbench.ts';
import type { Plan } from './plan.ts';
import { startStage } from './stage.ts';

/** Servers and contenders, all running. */
export type Scene = {
  readonly plan: Plan;
  readonly stage: Stage;
  /** The direct connection first. */
  readonly contenders: readonly Contender[];
  readonly pgbench: Pgbench;
  /** For the head of the report. */
  readonly description: readonly string[];
  note(line: string): void;
  close(): Promise<void>;
};

/** HAProxy has two sockets for each client. */
const FILES = 32_768;

/** @throws Error when there is no pgbench; FairleadError when the servers do not start. */
export async function openScene(plan: Plan, note: (line: string) => void): Promise<Scene> {
  const program = findProgram('pgbench');
  if (program === null) throw new Error('there is no pgbench here: apt-get install postgresql');
  const files = raiseFileLimit(FILES);
  note('starting a primary and 2 replicas, without fsync …');
  const stage = await startStage(plan, files);
  try {
    const pgbench = new Pgbench(program);
    await pgbench.initialize(urlOf(stage.primary), plan.scale);
    const contenders = await startAll(stage, plan.contenders, note);
    note('warming up …');
    await warmUp(contenders, pgbench, plan);
    const version = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
    return {
      plan,
      stage,
      contenders,
      pgbench,
      note,
      description: [
        `PostgreSQL ${stage.version} without fsync, ${version}, scale ${plan.scale}.`,
        '',
        ...contenders.map((contender) => `* ${contender.name}: ${contender.description}`),
      ],
      close: async () => {
        await Promise.all(contenders.map((contender) => contender.stop()));
        await stage.stop();
      },
    };
  } catch (error) {
    await stage.stop();
    throw error;
  }
}

/** A compiler that is not done yet would be measured; who cannot do it says so in the table. */
async function warmUp(contenders: readonly Contender[], pgbench: Pgbench, plan: Plan): Promise<void> {
  for (const contender of contenders) {
    const writes = { script: 'tpcb-like', protocol: 'simple' } as const;
    const reads = plan.protocols.map((protocol) => ({ script: 'select-only', protocol }) as const);
    for (const what of [...reads, writes]) {
      await pgbench.measure(contender, { ...what, clients: 8, reconnect: false }, plan.seconds).catch(() => {});
    }
  }
}
