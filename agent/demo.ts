/** The demonstration: a simulated piano, the agent inside it, and its owner's agent, in one process and on loopback only. */

import { openPiano, type ServedPiano } from '../firmware-bridge/simulator/piano.ts';
import { formatEndpoint } from './base/endpoint.ts';
import { internalError } from './base/errors.ts';
import type { Logger } from './base/log.ts';
import { Scope } from './base/scope.ts';
import { loadConfiguration } from './config/load.ts';
import { type Daemon, openDaemon } from './daemon.ts';
import { makeFolder, makeTemporaryFolder, readBytes } from './platform/folders.ts';

export interface DemoOptions {
  /** Absolute; undefined: a new temporary one, which stays. */
  readonly folder: string | undefined;
  /** The piano records on its own, about every so many milliseconds. */
  readonly every: number;
  readonly log: Logger;
}

export interface Demo {
  readonly piano: ServedPiano;
  readonly pianoAgent: Daemon;
  readonly ownerAgent: Daemon;
  readonly ownerFolder: string;
  /** A code for one more member. */
  newCode(): Promise<{ readonly code: string; readonly url: string }>;
  /** A file of the owner's folder, by the name that the piano gave it; undefined: not there (yet). */
  inOwnerFolder(name: string): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}

const SHARE = 'Recordings';

/** Goes on where an earlier demonstration in the same folder ended. */
export async function openDemo({ folder: given, every, log }: DemoOptions): Promise<Demo> {
  const folder = given ?? (await makeTemporaryFolder('skylark-demo-'));
  const scope = new Scope();
  try {
    const ownerFolder = await makeFolder(`${folder}/owner`);
    const deviceFolder = await makeFolder(`${folder}/piano`);
    const piano = scope.own(await openPiano({ every, log: log.child('piano') }));
    const pianoMember = { folder: `${folder}/piano-agent`, name: 'Demo piano', log };
    const openPianoAgent = async () => {
      // The bridge finds its share from the start: nothing to warn of.
      await makeShare(pianoMember, deviceFolder);
      return openMember(scope, { ...pianoMember, device: piano.source });
    };
    const [pianoAgent, ownerAgent] = await Promise.all([
      openPianoAgent(),
      openMember(scope, { folder: `${folder}/owner-agent`, name: "Demo owner's computer", log }),
    ]);
    const newCode = async () => {
      const { code, url } = await pianoAgent.agent.createCode({ share: SHARE });
      if (code === null || url === null) throw internalError('demo.no_code', 'no access code was made');
      return { code, url };
    };
    const peers = [formatEndpoint(pianoAgent.listen)];
    if (!(await hasShare(ownerAgent))) {
      const { code } = await newCode();
      await ownerAgent.agent.join({ code, path: ownerFolder, name: SHARE, peers });
    }
    void piano.record();
    return {
      piano,
      pianoAgent,
      ownerAgent,
      ownerFolder,
      newCode,
      inOwnerFolder: (name) => readBytes(`${ownerFolder}/${name}`),
      close: () => scope.close(),
    };
  } catch (thrown) {
    await scope.close().catch(() => {});
    throw thrown;
  }
}

interface Member {
  readonly folder: string;
  readonly name: string;
  readonly log: Logger;
  /** Source of its device. */
  readonly device?: string;
}

async function openMember(scope: Scope, { folder, name, log, device }: Member): Promise<Daemon> {
  const bridge = device === undefined ? '' : `[[bridge.device]]\nsource = "${device}"\nshare = "${SHARE}"\n`;
  const own = {
    path: 'the demonstration',
    text: `name = "${name}"\nlisten = "127.0.0.1:0"\ndiscovery.lan = false\n${bridge}`,
  };
  const daemon = await openDaemon({
    stateFolder: folder,
    configure: (stored) => loadConfiguration({ files: [own, stored] }),
    log: log.child(name),
  });
  return scope.own(daemon);
}

/** Unless an earlier demonstration has made it. */
async function makeShare(member: Member, folder: string): Promise<void> {
  const scope = new Scope();
  try {
    const daemon = await openMember(scope, member);
    if (!(await hasShare(daemon))) await daemon.agent.createShare({ path: folder, name: SHARE });
  } finally {
    await scope.close();
  }
}

async function hasShare({ agent }: Daemon): Promise<boolean> {
  const { shares } = await agent.listShares({});
  return shares.size > 0;
}
