/** Devices with pools on a network in memory. */

import assert from 'node:assert/strict';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { type Access, accessOfCode, parseAccessCode } from '../../agent/club/access-code.ts';
import type { Club } from '../../agent/club/club.ts';
import type { NewCode } from '../../agent/club/code-book.ts';
import { type GuessLimiter, openGuessLimiter } from '../../agent/club/guessing.ts';
import { openPool, type Pool, type PoolChange } from '../../agent/club/pool.ts';
import { randomId } from '../../agent/club/random.ts';
import type { Registry } from '../../agent/club/registry.ts';
import type { Extension, Session } from '../../agent/club/session.ts';
import { sha256 } from '../../agent/crypto/hash.ts';
import type { VirtualClock } from '../support/virtual-clock.ts';
import { type MemoryNetwork, plainChannels } from './plain-channel.ts';
import { TestDevice } from './test-device.ts';

/** An extension that notes its sessions and what they receive. */
export class Chat implements Extension {
  readonly name = 'chat';
  readonly payloadLimits = {};
  readonly sessions = new Set<Session>();
  readonly received: string[] = [];

  attach(session: Session) {
    this.sessions.add(session);
    return {
      receive: async ({ body }: { readonly body: Uint8Array }) => {
        this.received.push(fromUtf8(body));
      },
      detach: () => void this.sessions.delete(session),
    };
  }

  async say(text: string): Promise<void> {
    for (const session of this.sessions) {
      await session.send({ body: utf8(JSON.stringify({ type: 'chat.text', text })) });
    }
  }
}

/** A device that runs. */
export class Host {
  readonly address: string;
  readonly device: TestDevice;
  readonly clock: VirtualClock;
  readonly chat = new Chat();
  readonly changes: PoolChange[] = [];
  readonly guesses: GuessLimiter;
  readonly network: MemoryNetwork;
  /** Of the next process. */
  instance: string | undefined;
  registry!: Registry;
  pool!: Pool;

  constructor(address: string, clock: VirtualClock, network: MemoryNetwork, device = new TestDevice(clock)) {
    this.address = address;
    this.clock = clock;
    this.network = network;
    this.device = device;
    this.guesses = openGuessLimiter(clock);
  }

  get host(): string {
    return this.address.replace(/:\d+$/, '');
  }

  /** Starts a process: a new instance, with what the disk has. */
  async start(): Promise<this> {
    this.registry = await this.device.start();
    this.pool = openPool({
      registry: this.registry,
      channels: plainChannels,
      connect: async (address): Promise<ByteStream> => this.network.connect(this.host, address),
      extensionNames: ['chat'],
      extensions: () => [this.chat],
      guesses: this.guesses,
      instance: this.instance ?? randomId(),
      software: 'skylark test',
      // Longer than peers accept.
      name: () => `${this.address} ${'🎹'.repeat(200)}`,
      clock: this.clock,
      log: this.device.log,
    });
    this.pool.onChange((change) => this.changes.push(change));
    this.network.listen(this.address, this.pool);
    return this;
  }

  get club(): Club {
    const [club] = this.registry.list();
    assert.ok(club !== undefined, 'there is a club');
    return club;
  }

  share(): Promise<Club> {
    return this.registry.create({ name: 'Music', folder: '/music' });
  }

  async code(request: Partial<NewCode> = {}): Promise<Access> {
    const { code } = await this.club.codes.create({ level: 'read_write', ...request });
    assert.ok(code !== undefined);
    return accessOfCode(parseAccessCode(code.reveal()), sha256);
  }

  join(access: Access, addresses: readonly string[], signal = new AbortController().signal): Promise<Club> {
    return this.pool.join({
      access,
      addresses,
      signal,
      adopt: (keys, peer) => this.registry.adopt(keys, peer, { name: 'Music', folder: '/music' }),
    });
  }

  /** Key ID by which members of a level meet. */
  keyId(level: 'read_write' | 'read_only' = 'read_write'): string {
    const { keys } = this.club;
    if (level === 'read_only' || keys.level === 'read_only') return keys.readOnly.id;
    return keys.readWrite.id;
  }

  async stop(): Promise<void> {
    await this.registry.close();
    await this.pool.close();
  }
}
