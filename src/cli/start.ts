import { messageOf } from '../core/errors.ts';
import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';
import { CONFIG_OPTIONS, configFrom } from './config-options.ts';
import { programLog } from './program-log.ts';
import { StopRequest } from './stop-request.ts';

export const start: Command = async (args, { startApp, environment }) => {
  const { values } = parseOptions(args, CONFIG_OPTIONS);
  const readConfig = () => configFrom(values, environment);
  const config = readConfig();
  const log = programLog(config.log.level, process.stderr.isTTY === true);
  const stop = new StopRequest(() => log.info({}, 'stopping; a second signal stops at once'), ['SIGINT', 'SIGTERM']);
  try {
    const app = await startApp(config, log, readConfig);
    // as PostgreSQL does; what is wrong with the file is logged, and the configuration in force stays
    process.on('SIGHUP', () => {
      app.reload().catch((error) => log.error({ error: messageOf(error) }, 'configuration not read again'));
    });
    log.info({ listen: app.listen, listen_read_only: app.listenReadOnly, http: app.http }, 'ready');
    await stop.asked;
    await app.stop().catch((error) => log.warn({ error: messageOf(error) }, 'stopping was not clean'));
    return 0;
  } finally {
    stop.dispose();
  }
};
