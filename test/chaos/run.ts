/**
 * `npm run chaos -- --seed 7 --rounds 20 --mode quorum`: real servers are killed, frozen and cut off under load, at random and repeatably. A line for each round
 * goes to stderr, the table for docs/chaos.md to stdout. Exit 1 when anything that was promised is broken. docs/chaos.md
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/core/errors.ts';
import { type CampaignOptions, campaign } from './campaign.ts';
import { inWords, summary } from './report.ts';

const MODES = ['async', 'quorum', 'sync'] as const;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '20' },
    mode: { type: 'string', default: 'all' },
    only: { type: 'string' },
    'pg-bin': { type: 'string' },
    logs: { type: 'string' },
  },
});
const modes = values.mode === 'all' ? MODES : MODES.filter((mode) => mode === values.mode);
const numbers = [values.seed, values.from, values.rounds].map(Number);
const [seed = 1, from = 1, rounds = 20] = numbers;
const note = (line: string) => process.stderr.write(`${line}\n`);

if (modes.length === 0 || numbers.some((number) => !Number.isInteger(number) || number < 0)) {
  note(
    'npm run chaos -- [--seed N] [--rounds N] [--from N] [--mode async|sync|quorum|all] [--only TEXT] [--pg-bin DIR] [--logs DIR]',
  );
  process.exit(2);
}

const logs = values.logs ?? join(tmpdir(), `fairlead-chaos-${seed}`);
const results: Parameters<typeof summary>[0][number][] = [];
let broken = false;
let version = '';
for (const mode of modes) {
  const options: CampaignOptions = { mode, seed, from, rounds, logs, pgBin: values['pg-bin'], only: values.only };
  try {
    const played = await campaign(options, (round) => {
      note(inWords(round, mode));
      if (round.violations.length === 0) return;
      broken = true;
      note(`  again: npm run chaos -- --seed ${seed} --mode ${mode} --from ${round.number} --rounds 1`);
      note(`  logs: ${join(logs, `${mode}-seed-${seed}-round-${round.number}`)}`);
    });
    results.push({ mode, rounds: played.rounds });
    version = played.version;
  } catch (error) {
    broken = true;
    note(`${mode}: ${messageOf(error)}`);
  }
}
process.stdout.write(`${summary(results, { seed, version }).join('\n')}\n`);
process.exit(broken ? 1 : 0);
