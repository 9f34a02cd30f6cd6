import { messageOf } from '../core/errors.ts';
import { parseOptions } from './arguments.ts';
import type { Command, RunningApp } from './command.ts';
import { CONFIG_OPTIONS, configFrom } from './config-options.ts';
import { programLog } from './program-log.ts';
import { StopRequest } from './stop-request.ts';

/** What each signal asks for; a second one, whichever, ends the program at once. */
const MODES = { SIGTERM: 'drain', SIGINT: 'wait', SIGQUIT: 'now' } as const;
type Stopping = keyof typeof MODES;
/** Clients are still told why; what takes longer than that is left to the end of the process. */
const INSIST_MS = 500;

const SAID = {
  SIGTERM: 'stopping: clients are ended as soon as no transaction of theirs is open; a second signal ends them now',
  SIGINT: 'stopping when all clients have left, new ones are refused; a second signal ends them now',
  SIGQUIT: 'stopping now',
} as const;

export const start: Command = async (args, { startApp, environment }) => {
  const { values } = parseOptions(args, CONFIG_OPTIONS);
  const readConfig = () => configFrom(values, environment);
  const config = readConfig();
  const log = programLog(config.log.level, process.stderr.isTTY === true);
  let app: RunningApp | null = null;
  const insist = () => {
    void app?.shutDown('now');
    setTimeout(() => process.exit(1), app === null ? 0 : INSIST_MS);
  };
  const signals = Object.keys(MODES) as Stopping[];
  const stop = new StopRequest((signal) => log.info({ signal }, SAID[signal as Stopping]), signals, insist);
  const reload = () => {
    // as PostgreSQL does; what is wrong with the file is logged, and the configuration in force stays
    app?.reload().catch((error) => log.error({ error: messageOf(error) }, 'configuration not read again'));
  };
  try {
    process.on('SIGHUP', reload);
    const running = await startApp(config, log, readConfig);
    app = running;
    const { listen, listenReadOnly, http } = running;
    log.info({ listen, listen_read_only: listenReadOnly, http }, 'ready');
    const asked = stop.asked.then((signal) => running.shutDown(MODES[signal as Stopping]));
    await Promise.race([asked, running.done]).catch((error) =>
      log.warn({ error: messageOf(error) }, 'stopping was not clean'),
    );
    return 0;
  } finally {
    process.off('SIGHUP', reload);
    stop.dispose();
  }
};
