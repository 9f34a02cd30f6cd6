import { checkAgents } from '../agent/check-agents.ts';
import { checkJournal } from '../failover/lost/check-journal.ts';
import { preflight } from '../monitor/preflight.ts';
import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';
import { CONFIG_OPTIONS, configFrom } from './config-options.ts';

const MARK = { error: 'ERROR', warning: 'warning', ok: 'ok' } as const;

export const check: Command = async (args, { print, environment }) => {
  const { values } = parseOptions(args, { ...CONFIG_OPTIONS, json: { type: 'boolean' } } as const);
  const config = configFrom(values, environment);
  const findings = [...(await preflight(config)), ...(await checkAgents(config)), ...(await checkJournal(config))];
  const wouldRun = findings.every((finding) => finding.level !== 'error');
  if (values.json) {
    print(JSON.stringify({ ok: wouldRun, findings }));
    return wouldRun ? 0 : 1;
  }
  for (const { node, level, message, fix } of findings) {
    print(`${MARK[level].padEnd(8)} ${node === null ? '' : `${node}: `}${message}`);
    if (fix !== null) print(`${' '.repeat(9)}fix: ${fix}`);
  }
  print(wouldRun ? 'Fairlead would run with this configuration.' : 'Fairlead would not run with this configuration.');
  return wouldRun ? 0 : 1;
};
