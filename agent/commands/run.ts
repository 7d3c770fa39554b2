import { describeError, SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { command } from './command.ts';
import { CONFIGURATION_OPTIONS, readConfiguration } from './configuration.ts';

export default command({
  name: 'run',
  summary: 'run the daemon in the foreground',
  description:
    'Keeps the shares in sync until it is stopped by SIGTERM, SIGINT or "skylark stop". Logs on standard error; prints nothing on standard output.',
  arguments: {},
  options: { ...CONFIGURATION_OPTIONS },
  examples: [
    ['skylark run', 'with the configuration of /etc/skylark/skylark.toml, if there is one'],
    ['skylark run --set discovery.lan=false --set log.level=debug', 'with some options given here'],
  ],
  async run({ options, environment, stateFolder, signal, openLogger }) {
    const { openDaemon } = await import('../daemon.ts');
    const { keepTranslatedModules, openServiceNotifier } = await import('../platform/process.ts');
    const configuration = readConfiguration(environment, options);
    const log = openLogger({ level: configuration['log.level'], format: configuration['log.format'] });
    if (configuration['manners.priority'] === 'low') {
      const { lowerPriority } = await import('../platform/priority.ts');
      void lowerPriority().then((lowered) => log.debug('gives way to other programs', { lowered }));
    }
    const daemon = await openDaemon({
      stateFolder,
      configure: (stored) => readConfiguration(environment, options, [stored]),
      log,
    });
    const notifier = openServiceNotifier(environment);
    try {
      await notifier.ready('syncing');
      keepTranslatedModules();
      await Promise.race([daemon.stopRequested, ended(signal)]);
      log.info('stopping');
      await notifier.stopping();
    } catch (thrown) {
      logFailure(log, thrown);
      throw thrown;
    } finally {
      notifier.close();
      await daemon.close();
    }
    log.info('stopped');
  },
});

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function logFailure(log: Logger, thrown: unknown): void {
  log.error('the daemon failed', {
    code: thrown instanceof SkylarkError ? thrown.code : undefined,
    why: describeError(thrown),
  });
}
