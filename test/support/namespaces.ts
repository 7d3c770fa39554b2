/**
 * Test networks of network namespaces: hosts with a cable to one or more LANs, each LAN a switch. Needs root and `ip`: use
 * `peerTest(name, NAMESPACES, ...)`. Everything is removed with the test, and what a killed test left behind, with the next.
 *
 *     const network = openNetwork(t, { piano: ['home'], phone: ['home', 'cafe'] });
 *     startProgram(t, ...network.command('piano', process.execPath, ['program.ts']));
 */

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { findProgram, type PeerNeeds } from './peers.ts';

/** What a test in namespaces needs. */
export const NAMESPACES: PeerNeeds = { programs: ['ip'], root: true };

/** And one whose network loses packets, or is slow. */
export const BAD_NETWORKS: PeerNeeds = { ...NAMESPACES, programs: ['ip', 'nft', 'tc'] };

const PREFIX = 'skylark-test-';
let opened = 0;

/** Host name to the LANs that it has a cable to, in the order of its interfaces eth0, eth1... */
export type Layout = Readonly<Record<string, readonly string[]>>;

export interface TestNetwork {
  /** For `ip netns exec`. */
  namespace(host: string): string;
  /** The host's address in a LAN: 10.77.LAN.HOST, counted in the order of the layout; each LAN is a /24. */
  address(host: string, lan: string): string;
  /** Pulls the cable, or plugs it in again. */
  setCable(host: string, lan: string, state: 'up' | 'down'): void;
  /** Of what arrives at the host, so many per cent are lost, at random. Needs `nft`. */
  setLoss(host: string, percent: number): void;
  /** Sends no faster than this from the host into the LAN, kilobits per second. Needs `tc`. */
  setRate(host: string, lan: string, kilobits: number): void;
  /** The program and its arguments so that it runs on the host. */
  command(host: string, program: string, args: readonly string[]): [string, string[]];
}

export function openNetwork(t: TestContext, layout: Layout): TestNetwork {
  removeAbandoned();
  const prefix = `${PREFIX}${process.pid}-${opened++}-`;
  const hosts = Object.keys(layout);
  const lans = [...new Set(Object.values(layout).flat())];
  const namespace = (host: string) => {
    if (!(host in layout)) throw new Error(`the network has no host ${host}`);
    return `${prefix}${host}`;
  };
  const numberOf = (all: readonly string[], one: string) => {
    const index = all.indexOf(one);
    if (index < 0) throw new Error(`the network has no ${one}`);
    return index + 1;
  };
  const address = (host: string, lan: string) => `10.77.${numberOf(lans, lan)}.${numberOf(hosts, host)}`;
  const interfaceOf = (host: string, lan: string) => {
    const index = layout[host]?.indexOf(lan) ?? -1;
    if (index < 0) throw new Error(`${host} has no cable to ${lan}`);
    return `eth${index}`;
  };
  const switches = `${prefix}switches`;
  const all = [switches, ...hosts.map(namespace)];

  const remove = () => {
    process.off('exit', remove);
    for (const each of all) removeNamespace(each);
  };
  // A test that dies leaves no network behind.
  process.on('exit', remove);
  t.after(remove);

  ip(
    [],
    all.map((each) => `netns add ${each}`),
  );
  ip(
    ['-n', switches],
    lans.flatMap((_, index) => [`link add lan${index + 1} type bridge`, `link set lan${index + 1} up`]),
  );
  for (const host of hosts) {
    const commands = ['link set lo up'];
    for (const lan of layout[host] ?? []) {
      const name = interfaceOf(host, lan);
      const port = `p${numberOf(lans, lan)}-${numberOf(hosts, host)}`;
      ip([], [`link add ${name} netns ${namespace(host)} type veth peer name ${port} netns ${switches}`]);
      ip(['-n', switches], [`link set ${port} master lan${numberOf(lans, lan)} up`]);
      commands.push(`addr add ${address(host, lan)}/24 brd + dev ${name}`, `link set ${name} up`);
    }
    // Without a default route, multicast needs one of its own.
    if (layout[host]?.length) commands.push('route add 224.0.0.0/4 dev eth0');
    ip(['-n', namespace(host)], commands);
  }

  return {
    namespace,
    address,
    setCable(host, lan, state) {
      ip(['-n', namespace(host)], [`link set ${interfaceOf(host, lan)} ${state}`]);
    },
    setLoss(host, percent) {
      const rule = `iifname != "lo" numgen random mod 100 < ${percent} drop`;
      const chain = `chain in {\n type filter hook input priority 0\n ${rule}\n}`;
      const rules = `table inet loss\nflush table inet loss\ntable inet loss {\n ${chain}\n}\n`;
      runIn(namespace(host), 'nft', ['-f', '-'], rules);
    },
    setRate(host, lan, kilobits) {
      const shape = ['tbf', 'rate', `${kilobits}kbit`, 'burst', '16kb', 'latency', '200ms'];
      runIn(namespace(host), 'tc', ['qdisc', 'replace', 'dev', interfaceOf(host, lan), 'root', ...shape]);
    },
    command: (host, program, args) => [
      findProgram('ip') ?? 'ip',
      ['netns', 'exec', namespace(host), program, ...args],
    ],
  };
}

function runIn(namespace: string, program: string, args: readonly string[], input = ''): void {
  const command = ['netns', 'exec', namespace, findProgram(program) ?? program, ...args];
  execFileSync(findProgram('ip') ?? 'ip', command, { input, stdio: ['pipe', 'ignore', 'pipe'] });
}

function ip(options: readonly string[], commands: readonly string[]): void {
  execFileSync(findProgram('ip') ?? 'ip', [...options, '-batch', '-'], {
    input: commands.map((each) => `${each}\n`).join(''),
    stdio: ['pipe', 'ignore', 'pipe'],
  });
}

function removeNamespace(name: string): void {
  try {
    execFileSync(findProgram('ip') ?? 'ip', ['netns', 'del', name], { stdio: 'ignore' });
  } catch {
    // Never made, or gone already.
  }
}

/** Of test processes that were killed. */
function removeAbandoned(): void {
  const list = execFileSync(findProgram('ip') ?? 'ip', ['netns', 'list'], { encoding: 'utf8' });
  for (const line of list.split('\n')) {
    const [name = ''] = line.split(' ');
    const owner = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) removeNamespace(name);
  }
}
