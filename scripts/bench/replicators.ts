/** Three programs that bring one folder into another, behind one face: Skylark, Debian's syncthing, rsync's daemon. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { joined, TestAgent } from '../../test/support/agents.ts';
import { until } from './measuring.ts';

/** Two nodes on loopback, A with the folder `left` and B with `right`, which know each other. */
export interface Replicator {
  readonly name: string;
  readonly left: string;
  readonly right: string;
  start(): Promise<void>;
  /** B takes nothing from now on. */
  hold(): Promise<void>;
  /** B takes what there is; resolves when it was told so (rsync: when it is done). */
  release(): Promise<void>;
  /** Resolves when A knows all files that are in its folder. */
  indexed(files: number): Promise<void>;
  /** Lets A look through its whole folder; resolves when it has. Undefined: it has no such thing. */
  readonly rescan: (() => Promise<void>) | undefined;
  /** Ends B and starts it; resolves when it answers questions again, with the milliseconds since the start. */
  readonly restart: (() => Promise<number>) | undefined;
  /** Process of B. */
  readonly pid: number | undefined;
  end(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
}

export function skylark(top: string): Replicator {
  const a = new TestAgent(join(top, 'a'), { name: 'a' });
  const b = new TestAgent(join(top, 'b'), { name: 'b' });
  return {
    name: 'skylark',
    left: a.folder('Music'),
    right: b.folder('Music'),
    async start() {
      await a.start();
      await b.start();
      await joined(a, b);
    },
    hold: async () => void (await b.run('pause')),
    release: async () => void (await b.run('resume')),
    indexed: (files) =>
      until(async () => {
        const [share] = (await a.status()).shares;
        return share?.files === files && share.synced;
      }, 200),
    // There is no command for it: the whole folder is looked through at every start.
    rescan: undefined,
    async restart() {
      await b.end();
      const start = performance.now();
      await b.start();
      return performance.now() - start;
    },
    get pid() {
      return b.pid;
    },
    async end() {
      await a.end();
      await b.end();
    },
  };
}

class SyncthingNode {
  readonly folder: string;
  readonly #home: string;
  #gui = 0;
  #port = 0;
  #process: ChildProcess | undefined;
  id = '';

  constructor(top: string, name: string) {
    this.#home = join(top, name, 'home');
    this.folder = join(top, name, 'Music');
    mkdirSync(this.folder, { recursive: true });
  }

  /** Of the process that works: the one that was started only watches over it. */
  get pid(): number | undefined {
    const pid = this.#process?.pid;
    if (pid === undefined) return undefined;
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const [child] = readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ');
      if (child) return Number(child);
    }
    return pid;
  }

  get address(): string {
    return `tcp://127.0.0.1:${this.#port}`;
  }

  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`http://127.0.0.1:${this.#gui}/rest/${path}`, {
      method,
      headers: { 'X-API-Key': 'bench' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`syncthing: ${path}: ${response.status} ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  async run(): Promise<void> {
    if (this.#gui === 0) [this.#gui, this.#port] = [await freePort(), await freePort()];
    const args = ['serve', `--home=${this.#home}`, '--no-browser', '--no-restart', '--no-default-folder'];
    const gui = [`--gui-address=http://127.0.0.1:${this.#gui}`, '--gui-apikey=bench', '--no-upgrade'];
    this.#process = spawn('syncthing', [...args, '--skip-port-probing', ...gui], {
      stdio: 'ignore',
      env: { ...process.env, STNOUPGRADE: '1' },
    });
    await until(
      () =>
        this.ask('GET', 'system/ping').then(
          () => true,
          () => false,
        ),
      5,
    );
  }

  async introduce(): Promise<void> {
    this.id = (await this.ask<{ myID: string }>('GET', 'system/status')).myID;
    // Everything that would ask the world; all else as it is by default.
    await this.ask('PATCH', 'config/options', {
      listenAddresses: [this.address],
      globalAnnounceEnabled: false,
      localAnnounceEnabled: false,
      relaysEnabled: false,
      natEnabled: false,
      urAccepted: -1,
      crashReportingEnabled: false,
    });
  }

  async meet(other: SyncthingNode): Promise<void> {
    await this.ask('PUT', `config/devices/${other.id}`, { deviceID: other.id, addresses: [other.address] });
    await this.ask('PUT', 'config/folders/music', {
      id: 'music',
      path: this.folder,
      devices: [{ deviceID: this.id }, { deviceID: other.id }],
    });
  }

  /** The folder, not the connection: that is only made anew once a minute. */
  pause(paused: boolean): Promise<void> {
    return this.ask('PATCH', 'config/folders/music', { paused });
  }

  end(): Promise<void> {
    return this.#process === undefined ? Promise.resolve() : ended(this.#process);
  }
}

export function syncthing(top: string): Replicator {
  const a = new SyncthingNode(top, 'a');
  const b = new SyncthingNode(top, 'b');
  return {
    name: 'syncthing',
    left: a.folder,
    right: b.folder,
    async start() {
      await Promise.all([a.run(), b.run()]);
      await Promise.all([a.introduce(), b.introduce()]);
      await Promise.all([a.meet(b), b.meet(a)]);
      await until(async () => {
        const { connections } = await a.ask<{ connections: Record<string, { connected: boolean }> }>(
          'GET',
          'system/connections',
        );
        return connections[b.id]?.connected === true;
      }, 50);
    },
    hold: () => b.pause(true),
    release: () => b.pause(false),
    async indexed(files) {
      await a.ask('POST', 'db/scan?folder=music');
      await until(async () => {
        const status = await a.ask<{ localFiles: number; state: string }>('GET', 'db/status?folder=music');
        return status.localFiles === files && status.state === 'idle';
      }, 50);
    },
    rescan: () => a.ask('POST', 'db/scan?folder=music'),
    async restart() {
      await b.end();
      const start = performance.now();
      await b.run();
      return performance.now() - start;
    },
    get pid() {
      return b.pid;
    },
    async end() {
      await a.end();
      await b.end();
    },
  };
}

export function rsync(top: string): Replicator {
  const [left, right] = [join(top, 'left'), join(top, 'right')];
  let daemon: ChildProcess | undefined;
  let port = 0;
  return {
    name: 'rsync',
    left,
    right,
    async start() {
      mkdirSync(left, { recursive: true });
      mkdirSync(right, { recursive: true });
      port = await freePort();
      const file = join(top, 'rsyncd.conf');
      writeFileSync(file, `use chroot = no\nuid = 0\ngid = 0\n[music]\npath = ${left}\nread only = yes\n`);
      const args = ['--daemon', '--no-detach', `--config=${file}`, `--port=${port}`, '--address=127.0.0.1'];
      daemon = spawn('rsync', args, { stdio: 'ignore' });
      await wait(300);
    },
    hold: async () => undefined,
    async release() {
      // By size and time it would take an edited file of the same second for unchanged.
      const command = ['-a', '--ignore-times', `rsync://127.0.0.1:${port}/music/`, `${right}/`];
      const [code] = await once(spawn('rsync', command, { stdio: 'ignore' }), 'exit');
      if (code !== 0) throw new Error(`rsync ended with ${code}`);
    },
    indexed: async () => undefined,
    rescan: undefined,
    restart: undefined,
    pid: undefined,
    end: async () => (daemon === undefined ? undefined : ended(daemon)),
  };
}
