import { type CheckResult, type DeviceTestOptions, testDevice } from '../../firmware-bridge/index.ts';
import { systemClock } from '../base/clock.ts';
import { EXIT, environmentError, userError } from '../base/errors.ts';
import { nearestName } from '../base/nearest.ts';
import { printable } from '../base/printable.ts';
import { COMMANDS } from '../control/messages.ts';
import { type DeviceStatus, deviceStatus } from '../control/status.ts';
import { type CommandContext, command, flag, optionalArgument, text } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { counted, readableBytes } from './presentation.ts';

export default command({
  name: 'bridge',
  summary: 'show the devices on the bridge, or test one',
  description:
    'Without arguments: which devices are configured, whether they are there, what has come from them, and how good the line is.\n\n"skylark bridge test SOURCE" opens a device by itself, without the daemon and without a share, and tries everything that it says it can do: for makers of devices. The port must not be in use. The exit code is 0 if nothing failed, else 1.',
  arguments: {
    action: optionalArgument('test', 'test a device'),
    source: optionalArgument(
      'SOURCE',
      'where it is, as in the configuration: serial:/dev/..., tcp://HOST:PORT',
    ),
  },
  options: {
    driver: text({ placeholder: 'NAME', text: 'the protocol that the device speaks; by default skylink' }),
    write: flag('also write files to the device, and delete them again'),
  },
  json: true,
  examples: [
    ['skylark bridge', 'what is connected'],
    ['skylark bridge test serial:/dev/ttyACM0?baud=115200', 'does my board speak Skylink as it should?'],
  ],
  async run(context) {
    const { action, source } = context.arguments;
    if (action === undefined) return show(context);
    if (action !== 'test') {
      const remedy = nearestName(action, ['test']) ? 'did you mean test' : 'see skylark help bridge';
      throw userError('usage.action', `skylark bridge can not ${printable(action)}`, { remedy });
    }
    if (source === undefined)
      throw userError('usage.missing_argument', 'SOURCE is missing', { remedy: 'see skylark help bridge' });
    const { driver, write: mayWrite } = context.options;
    return test(context, { source, driver, mayWrite });
  },
});

type Asked = Pick<CommandContext, 'out' | 'json' | 'log' | 'signal' | 'stateFolder'>;

async function show(context: Asked): Promise<void> {
  const { out, json } = context;
  const { devices } = await withDaemon(context, (client) => client.request(COMMANDS.bridge, {}));
  if (json)
    return out.line(JSON.stringify({ devices: devices.map((device) => deviceStatus.encode(device)) }));
  if (devices.length === 0)
    return out.line(
      "no device is configured; see [[bridge.device]] in 'skylark help run' and docs/configuration.md",
    );
  await out.write(devices.map((device) => `${describe(device).join('\n')}\n`).join('\n'));
}

/** All texts come from devices and people. */
function describe(device: DeviceStatus): string[] {
  const { source, driver, share, folder, device: facts, files, bytes, arriving, line, battery } = device;
  const who = facts === null ? '' : `: ${printable(facts.model)} ${printable(facts.firmware)}`.trimEnd();
  const place = `${printable(share)}${folder === '/' ? '' : printable(folder)}`;
  const lines = [
    `${printable(source)} (${driver})${who}`,
    `  ${STATES[device.state]}; ${counted(files, 'file')} (${readableBytes(bytes)}) in ${place}`,
  ];
  if (arriving !== null)
    lines.push(
      `  reading ${printable(arriving.name)}: ${readableBytes(arriving.offset)} of ${readableBytes(arriving.size)}`,
    );
  if (line.bytesIn + line.bytesOut > 0)
    lines.push(
      `  line: ${readableBytes(line.bytesIn)} in, ${readableBytes(line.bytesOut)} out${line.rate === 0 ? '' : `, ${readableBytes(line.rate)}/s`}; ${counted(line.crcErrors, 'damaged piece')}, ${line.retries} asked again`,
    );
  if (battery !== null) lines.push(`  battery: ${battery} %`);
  for (const { message, paths } of device.problems)
    lines.push(`  problem: ${[...(paths ?? []), message].map((one) => printable(one, 1_000)).join(': ')}`);
  return lines;
}

const STATES: Readonly<Record<DeviceStatus['state'], string>> = {
  opening: 'being opened',
  waiting: 'not there',
  idle: 'connected',
  mirroring: 'connected, being read',
  closed: 'closed',
};

const SIGNS = { passed: 'ok  ', failed: 'FAIL', skipped: '-   ' } as const;

async function test(
  { out, json, log, signal }: Asked,
  what: Pick<DeviceTestOptions, 'source' | 'driver' | 'mayWrite'>,
): Promise<void> {
  const results: CheckResult[] = [];
  for await (const result of testDevice({ ...what, clock: systemClock, log, signal })) {
    results.push(result);
    const { outcome, detail } = result;
    if (!json) await out.line(`${SIGNS[outcome]}  ${result.what}: ${printable(detail, 1_000)}`);
  }
  if (json) await out.line(JSON.stringify({ results }));
  const failed = results.filter(({ outcome }) => outcome === 'failed').length;
  if (failed > 0)
    throw environmentError('bridge.test_failed', `${counted(failed, 'check')} failed`, {
      remedy: 'firmware-bridge/PROTOCOL.md says what a device must do',
      exitCode: EXIT.failed,
    });
}
