import { messageOf } from '../core/errors.ts';
import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';
import { CONFIG_OPTIONS, configFrom } from './config-options.ts';
import { programLog } from './program-log.ts';
import { StopRequest } from './stop-request.ts';

export const start: Command = async (args, { startApp, environment }) => {
  const { values } = parseOptions(args, CONFIG_OPTIONS);
  const config = configFrom(values, environment);
  const log = programLog(config.log.level, process.stderr.isTTY === true);
  const stop = new StopRequest(() => log.info({}, 'stopping; a second signal stops at once'));
  try {
    const app = await startApp(config, log);
    log.info({ listen: app.listen, http: app.http }, 'ready');
    await stop.asked;
    await app.stop().catch((error) => log.warn({ error: messageOf(error) }, 'stopping was not clean'));
    return 0;
  } finally {
    stop.dispose();
  }
};
