import { resolve } from 'node:path';
import { equalBytes } from '../base/bytes.ts';
import { sleep, systemClock } from '../base/clock.ts';
import { formatEndpoint } from '../base/endpoint.ts';
import { EXIT, environmentError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { groupAccessCode } from '../club/access-code.ts';
import type { Demo } from '../demo.ts';
import { command, count, flag, text } from './command.ts';
import { counted, qrCode, readableBytes } from './presentation.ts';

/** The piano plays about so often, milliseconds. */
const EVERY_MS = 4_000;
/** With --exit everything must have arrived by then, seconds. */
const DEADLINE_S = 60;
/** How often the owner's folder is compared with the piano, milliseconds. */
const LOOK_MS = 100;

export default command({
  name: 'demo',
  summary: 'show it all on this machine: a simulated piano, an agent for it, and its owner',
  description:
    "The piano composes and records. Its agent takes the recordings over the Skylink protocol and shares them; a second agent, the owner's, has joined with an access code and receives them in DIR/owner. Everything stays on this machine. Ends with Ctrl-C.",
  arguments: {},
  options: {
    dir: text({ placeholder: 'DIR', text: 'where everything is kept; by default a new temporary folder' }),
    recordings: count(
      { min: 1, max: 1_000 },
      { placeholder: 'N', text: 'with --exit: how many recordings must arrive', default: '3' },
    ),
    exit: flag(
      'end with success once the recordings lie byte-identical in DIR/owner, with failure after 60 s',
    ),
  },
  examples: [
    ['skylark demo', 'until Ctrl-C'],
    ['skylark demo --dir /tmp/demo --recordings 3 --exit', 'as a test'],
  ],
  async run({ options, out, signal, log }) {
    const { openDemo } = await import('../demo.ts');
    const demo = await openDemo({
      folder: options.dir === undefined ? undefined : resolve(options.dir),
      every: EVERY_MS,
      log,
    });
    try {
      const { code, url } = await demo.newCode();
      await out.line(
        `The piano's agent is a member of a club of two; the owner's folder is ${demo.ownerFolder}`,
      );
      await out.line();
      await out.line('To let one more device in, within 24 hours:');
      await out.line(`  ${groupAccessCode(code)}`);
      await out.line(`  ${url}`);
      await out.write(qrCode(url, out));
      await out.line(`  skylark join ${code} FOLDER --peer ${formatEndpoint(demo.pianoAgent.listen)}`);
      await out.line();
      await out.line('What arrives (Ctrl-C ends it):');
      await watch(demo, options, out, signal);
    } finally {
      await demo.close();
    }
  },
});

async function watch(
  demo: Demo,
  options: { readonly recordings: number; readonly exit: boolean },
  out: { line(text: string): Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  const seen = new Set<string>();
  const deadline = systemClock.monotonic() + DEADLINE_S * 1_000;
  while (!signal.aborted) {
    for (const { name, bytes } of demo.piano.recordings()) {
      if (seen.has(name)) continue;
      const arrived = await demo.inOwnerFolder(name);
      if (arrived === undefined || !equalBytes(arrived, bytes)) continue;
      seen.add(name);
      await out.line(`  ${printable(name)}  ${readableBytes(bytes.length)}`);
    }
    if (options.exit && seen.size >= options.recordings) return;
    if (options.exit && systemClock.monotonic() > deadline) {
      throw environmentError(
        'demo.too_late',
        `${counted(seen.size, 'recording')} of ${options.recordings} arrived within ${DEADLINE_S} s`,
        { remedy: 'run it with --verbose to see why', exitCode: EXIT.failed },
      );
    }
    await sleep(systemClock, LOOK_MS, signal).catch(() => {});
  }
}
