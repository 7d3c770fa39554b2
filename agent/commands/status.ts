import { sleep, systemClock } from '../base/clock.ts';
import { stringifyJson } from '../base/json.ts';
import { printable } from '../base/printable.ts';
import { type Answers, COMMANDS } from '../control/messages.ts';
import type { ShareStatus } from '../control/status.ts';
import { command, flag } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { counted, readableAge, readableBytes, readableSpan, readableTime } from './presentation.ts';
import { describeSelection } from './selection-options.ts';

type Status = Answers['fullStatus'];

/** Between two looks with --watch, milliseconds. */
const WATCH_MS = 1_000;

export default command({
  name: 'status',
  summary: 'show shares, members, devices and problems',
  arguments: {},
  options: { watch: flag('show it again every second, until Ctrl-C') },
  json: true,
  examples: [
    ['skylark status', 'for people'],
    ['skylark status --json', 'one JSON document, for programs'],
  ],
  async run(context) {
    const { options, out, json, signal } = context;
    await withDaemon(context, async (client) => {
      for (;;) {
        const status = await client.request(COMMANDS.fullStatus, {});
        // The same keys as on the control socket.
        const shown = json
          ? `${stringifyJson(COMMANDS.fullStatus.answer.encode(status))}\n`
          : describe(status, Date.now());
        await out.write(options.watch && out.isTerminal ? `\x1b[H\x1b[2J${shown}` : shown);
        if (!options.watch) return;
        await sleep(systemClock, WATCH_MS, signal).catch(() => {});
        if (signal.aborted) return;
      }
    });
  },
});

/** All names come from people and peers. */
function describe(status: Status, now: number): string {
  const lines = [
    `${printable(status.name)}: skylark ${status.version}, up for ${readableSpan(status.uptimeS)}, listening on ${status.listen.join(', ')}`,
  ];
  if (status.shares.length === 0)
    lines.push(
      '',
      "no share yet; make one with 'skylark share DIR' or join one with 'skylark join CODE DIR'",
    );
  for (const share of status.shares) lines.push('', ...describeShare(share, status, now));
  for (const device of status.bridge) {
    const { source, state, files, device: facts } = device;
    const who = facts === null ? 'not there' : `${printable(facts.model)}, ${state}`;
    lines.push(
      '',
      `device ${printable(source)}: ${who}; ${counted(files, 'file')} in ${printable(device.share)}`,
    );
  }
  lines.push('');
  const isTold = (code: string) => status.problems.some((problem) => problem.code === code);
  for (const { code, message, remedy } of status.holds)
    if (!isTold(code)) lines.push(`${printable(message)}; ${printable(remedy)}`);
  if (status.problems.length === 0) lines.push('no problems');
  for (const { message, remedy, paths } of status.problems) {
    lines.push(`problem: ${printable(message)}${remedy === undefined ? '' : `; ${printable(remedy)}`}`);
    for (const path of paths ?? []) lines.push(`  ${printable(path)}`);
  }
  return `${lines.join('\n')}\n`;
}

function describeShare(share: ShareStatus, status: Status, now: number): string[] {
  const { name, path, mode, paused, files, bytes, pendingFiles, pendingBytes, etaS, synced, lastSync } =
    share;
  const { putRightFiles, selection, unwantedFiles, unwantedBytes, cachedBytes } = share;
  const elsewhere =
    unwantedFiles === 0
      ? []
      : [
          `  ${counted(unwantedFiles, 'file')} (${readableBytes(unwantedBytes)}) not kept here${cachedBytes === 0 ? '' : `, ${readableBytes(cachedBytes)} of that in the cache`}`,
        ];
  // What lies beside the share is told as a problem.
  const undone =
    putRightFiles === 0
      ? []
      : [
          `  ${counted(putRightFiles, 'edit')} undone, since ${mode === 'read_only' ? 'the share is read-only here' : 'this device only receives'}; kept in ${printable(path)}/.clearskies/archive`,
        ];
  const access = mode === 'read_only' ? ', read-only' : '';
  const state = paused
    ? 'paused'
    : synced
      ? 'in sync'
      : pendingFiles > 0
        ? `${counted(pendingFiles, 'file')} (${readableBytes(pendingBytes)}) still to come${etaS === null ? '' : `, in about ${readableSpan(etaS)}`}`
        : 'being read';
  const last =
    lastSync === null
      ? 'never in step with another member'
      : `in step with another member ${readableAge(lastSync, now)}`;
  const members = status.peers
    .filter((peer) => peer.share === share.id)
    .map(({ name: peer, id, connected, address, since, rateUp, rateDown }) => {
      const who = printable(peer ?? `${id.slice(0, 8)}...`);
      if (!connected)
        return `  ${who}: not connected, last seen ${since === null ? 'never' : readableAge(since, now)}`;
      return `  ${who}: connected at ${address}, ${readableBytes(rateUp)}/s up, ${readableBytes(rateDown)}/s down`;
    });
  return [
    `${printable(name)} in ${printable(path)}${access}`,
    `  ${counted(files, 'file')}, ${readableBytes(bytes)}, ${state}; ${last}`,
    ...describeSelection(selection).map((line) => `  ${line}`),
    ...elsewhere,
    ...undone,
    ...describeSafety(share, now),
    ...members,
  ];
}

/** Where everything of a share is, besides here. */
function describeSafety({ files, safeOn }: ShareStatus, now: number): string[] {
  if (files === 0) return [];
  if (safeOn.length === 0) return ['  not known to be complete on any other member'];
  const places = safeOn.map(({ id, name, connected, since }) => {
    const who = printable(name ?? `${id.slice(0, 8)}...`);
    return `${who} (since ${readableTime(since, now)}${connected ? '' : ', not connected now'})`;
  });
  return [`  all of it is also on ${places.join(', ')}`];
}
