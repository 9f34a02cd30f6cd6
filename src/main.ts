#!/usr/bin/env node
import { runCommand } from './cli/run-command.ts';

const code = await runCommand(process.argv.slice(2), {
  // loaded by the commands that run a proxy, not by `fairlead help`
  startApp: async (config, log, readConfig) => (await import('./app.ts')).startApp(config, log, readConfig),
  environment: process.env,
  print: (line) => process.stdout.write(`${line}\n`),
  note: (line) => process.stderr.write(`${line}\n`),
});
// explicitly: what a command left open must not keep the program
process.exit(code);
