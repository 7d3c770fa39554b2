/**
 * A program for the namespace tests: discovery as the daemon runs it, over the real network, with a dial that is no more than an
 * exchange of peer IDs. It prints what happens, one line each.
 *
 *     agent-program.ts PEER-ID PORT ID...
 */

import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { systemClock } from '../../agent/base/clock.ts';
import { Logger } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { openDiscovery } from '../../agent/discovery/discovery.ts';
import { connectTcp, listenTcp } from '../../agent/platform/net.ts';

const [self = '', port = '0', ...ids] = process.argv.slice(2);
const say = (...words: readonly unknown[]) => console.log(words.join(' '));

async function readPeer(stream: ByteStream): Promise<string> {
  let text = '';
  while (text.length < 32) {
    const bytes = await stream.read();
    if (bytes === null) throw new Error('it ended');
    text += fromUtf8(bytes);
  }
  return text;
}

let dials = 0;
const discovery = openDiscovery({
  lan: {},
  recall: () => [],
  clock: systemClock,
  log: new Logger(({ message, fields }) =>
    say(
      'log',
      message,
      JSON.stringify(fields, (_, value) => String(value)),
    ),
  ),
  async dial({ address, club }, signal) {
    dials += 1;
    const stream = await connectTcp(address.host, address.port, { signal, timeoutMs: 3_000 });
    await stream.write(utf8(self));
    const peer = await readPeer(stream);
    hold(club, peer, stream);
    say('dialled', peer, stream.label);
    return { kind: 'connected', peer };
  },
});

function hold(club: string, peer: string, stream: ByteStream): void {
  discovery.sessionOpened(club, peer);
  void (async () => {
    try {
      while ((await stream.read()) !== null);
    } catch {}
    discovery.sessionEnded(club, peer);
    say('ended', peer);
    stream.abort(new Error('it ended'));
  })();
}

const listener = await listenTcp({ host: '0.0.0.0', port: Number(port) }, (stream) => {
  void (async () => {
    const peer = await readPeer(stream);
    await stream.write(utf8(self));
    hold('club', peer, stream);
    say('accepted', peer, stream.label);
  })().catch(() => stream.abort(new Error('not a peer')));
});
discovery.announce({
  listen: listener,
  ids: ids.map((id) => ({ id, peer: self, establish: [1], club: 'club', preference: 1 })),
});
say('listening', listener.port);

process.stdin.resume().once('end', () => {
  const { user, system } = process.cpuUsage();
  say('used', Math.round((user + system) / 1000), 'ms CPU', dials, 'dials');
  process.exit(0);
});
