/** Devices for the tests of the club: real registries over a disk in memory. */

import { toHex } from '../../agent/base/bytes.ts';
import type { Clock } from '../../agent/base/clock.ts';
import { type LogEntry, Logger } from '../../agent/base/log.ts';
import {
  type DeviceState,
  deviceState,
  newDeviceState,
  STATE_VERSION,
} from '../../agent/club/device-state.ts';
import { openRegistry, type Registry } from '../../agent/club/registry.ts';
import { sha256 } from '../../agent/crypto/hash.ts';
import { type Rsa, type RsaPrivateKey, rsa } from '../../agent/crypto/rsa.ts';
import { openStateFile, type StateFile } from '../../agent/platform/state-file.ts';
import { FragileDisk } from '../support/fragile-disk.ts';

const prepared: RsaPrivateKey[] = await Promise.all(Array.from({ length: 4 }, () => rsa.generate()));
let nextKey = 0;

/** Real RSA, but new keys come from a small stock: making them takes most of a second otherwise. */
export const stockRsa: Rsa = {
  ...rsa,
  async generate() {
    const key = prepared[nextKey++ % prepared.length];
    if (key === undefined) throw new Error('the stock is empty');
    return key;
  },
};

export class TestDevice {
  readonly disk = new FragileDisk();
  readonly entries: LogEntry[] = [];
  readonly log = new Logger((entry) => this.entries.push(entry));
  readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  openState(): Promise<StateFile<DeviceState>> {
    return openStateFile({
      path: '/state.json',
      schema: deviceState,
      version: STATE_VERSION,
      initial: newDeviceState,
      checksum: (bytes) => toHex(sha256(bytes)),
      log: this.log,
      disk: this.disk,
    });
  }

  /** The device as it comes up with what its disk has. */
  async start(): Promise<Registry> {
    const state = await this.openState();
    return openRegistry({ state, rsa: stockRsa, sha256, clock: this.clock, log: this.log });
  }

  /** Everything that was logged, as text. */
  get logText(): string {
    return JSON.stringify(this.entries, (_, value) =>
      typeof value === 'bigint'
        ? String(value)
        : value instanceof Error
          ? { ...value, message: value.message }
          : value,
    );
  }
}
