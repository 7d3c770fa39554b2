/** A controlled agent that keeps a few shares in memory: what stands behind the socket in the tests of the socket. */

import { systemClock } from '../../agent/base/clock.ts';
import { userError } from '../../agent/base/errors.ts';
import type { Json } from '../../agent/base/json.ts';
import { EventFeed } from '../../agent/control/event-feed.ts';
import { findShare } from '../../agent/control/find-share.ts';
import type { Answers } from '../../agent/control/messages.ts';
import type { ControlledAgent } from '../../agent/control/server.ts';
import { changedRules, EVERYTHING } from '../../agent/directory/selection.ts';

export interface SampleAgent {
  readonly agent: ControlledAgent;
  readonly events: EventFeed;
  /** The types of the commands in the order in which they began. */
  readonly begun: string[];
  /** Resolves the `join` that runs. */
  finishJoin(): void;
  /** Lets `verify` come to its end. */
  finishVerify(): void;
}

const CODE = 'SYNC74AAAAAAAAAAAAAAAAAAAAAAAAAAA';

export function sampleAgent(): SampleAgent {
  const shares: { id: string; name: string; path: string }[] = [];
  const config = new Map<string, Json>([
    ['name', 'piano'],
    ['big', 9_223_372_036_854_775_807n],
  ]);
  const begun: string[] = [];
  const events = new EventFeed(systemClock);
  const joining = Promise.withResolvers<void>();
  const verifying = Promise.withResolvers<void>();
  let paused = false;
  const status = (): Answers['status'] => ({
    paused,
    tracking: false,
    natPunctured: false,
    uploadRate: 12_834,
    downloadRate: 1_049_292,
  });
  const agent: ControlledAgent = {
    async stop() {
      return {};
    },
    async pause({ share }) {
      if (share !== undefined) findShare(shares, share);
      paused = true;
      return {};
    },
    async resume() {
      paused = false;
      return {};
    },
    async status() {
      return status();
    },
    async createShare({ path, name = path.slice(path.lastIndexOf('/') + 1) }) {
      const share = { id: String(shares.length + 1), name, path };
      shares.push(share);
      return { id: share.id, name };
    },
    async listShares() {
      return {
        shares: new Map(shares.map(({ path, ...rest }) => [path, { ...rest, files: 350, synced: false }])),
      };
    },
    async addShare({ code, path }) {
      if (!code.startsWith('SYNC74')) {
        throw userError('code.typo', 'this code has a typo', { remedy: 'look at it again' });
      }
      shares.push({ id: 'added', name: 'added', path });
      return {};
    },
    async setShare({ share, selection }) {
      findShare(shares, share);
      return { selection: changedRules(EVERYTHING, selection ?? {}) };
    },
    async removeShare({ share }) {
      shares.splice(shares.indexOf(findShare(shares, share)), 1);
      return {};
    },
    async createAccessCode({ share }) {
      findShare(shares, share);
      return { accessCode: CODE };
    },
    async getConfig() {
      return { config };
    },
    async setConfig({ config: changes }) {
      for (const [key, value] of changes) config.set(key, value);
      return {};
    },
    async getConfigValue({ key }) {
      return { value: config.get(key) ?? null };
    },
    async setConfigValue({ key, value }) {
      config.set(key, value);
      return {};
    },
    async fullStatus() {
      return {
        name: 'piano',
        deviceId: '00',
        version: '0.1.0',
        uptimeS: 1,
        paused,
        listen: [],
        http: null,
        shares: [],
        peers: [],
        attempts: [],
        bridge: [],
        backup: null,
        holds: [],
        month: { up: 0, down: 0 },
        problems: [],
      };
    },
    async listCodes() {
      return { codes: [] };
    },
    async revokeCode() {
      throw new Error('a bug');
    },
    async createCode({ mode = 'read_write', expires }) {
      return {
        code: CODE,
        url: `clearskies://directory/${CODE}`,
        id: 'ab',
        mode,
        expires: expires === null ? null : '2030-01-01T00:00:00Z',
      };
    },
    async join({ path, name = 'joined' }) {
      await joining.promise;
      return { id: 'j', name, path, mode: 'read_only' };
    },
    async listFiles() {
      return { files: [], next: null };
    },
    async history() {
      return { versions: [], next: null };
    },
    async restore({ path }) {
      return { version: 7, path, size: 4, sha256: 'ab', changed: true, replaced: 8, newer: false };
    },
    async *verify(_request, signal) {
      const counts = {
        bytes: 0,
        totalFiles: 2,
        totalBytes: 8,
        damaged: 0,
        repaired: 0,
        changed: 0,
        unreadable: 0,
      };
      try {
        for (let files = 0; files < 2; files++) {
          yield { files, ...counts };
          signal.addEventListener('abort', () => verifying.resolve(), { once: true });
          if (files === 1) await verifying.promise;
          signal.throwIfAborted();
        }
        return { files: 2, ...counts, missing: 0, unread: 0 };
      } finally {
        begun.push('verify ended');
      }
    },
    async *readFile({ path }) {
      yield { file: { size: 4, sha256: 'ab', mtime: null, from: 'folder' as const, version: null } };
      yield { data: Uint8Array.of(1, 2, 253, 255) };
      if (path === '/broken') throw userError('file.unknown', 'it is gone');
      return {};
    },
    async bridge() {
      return { devices: [] };
    },
  };
  const counted = Object.fromEntries(
    Object.entries(agent).map(([name, run]) => [
      name,
      (request: never, signal: AbortSignal) => {
        begun.push(name);
        return run(request, signal);
      },
    ]),
  );
  return {
    agent: counted as unknown as ControlledAgent,
    events,
    begun,
    finishJoin: () => joining.resolve(),
    finishVerify: () => verifying.resolve(),
  };
}
