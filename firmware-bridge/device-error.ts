/** What goes wrong between the agent and a device, in codes that all drivers share. */

import { SkylarkError } from '../agent/base/errors.ts';

export type DeviceErrorCode =
  /** The line is gone: unplugged, connection closed. */
  | 'device.lost'
  /** The line is there, but nothing that makes sense has come for too long. */
  | 'device.silent'
  /** It answers, and never gets anywhere. */
  | 'device.stuck'
  /** It speaks something else, or breaks its protocol in a way that asking again can't mend. */
  | 'device.protocol'
  | 'device.unsupported'
  /** The file has changed since it was listed. */
  | 'device.changed'
  | 'device.not_found'
  | 'device.exists'
  | 'device.full'
  | 'device.busy'
  | 'device.refused'
  /** Its own memory failed. */
  | 'device.storage'
  /** It has forgotten the transfer. */
  | 'device.transfer'
  /** Most of its files are gone at once. */
  | 'device.mass_deletion';

const ENVIRONMENT: ReadonlySet<DeviceErrorCode> = new Set<DeviceErrorCode>([
  'device.lost',
  'device.silent',
  'device.full',
  'device.busy',
]);

export function deviceError(
  code: DeviceErrorCode,
  message: string,
  details: { readonly remedy?: string; readonly cause?: unknown } = {},
): SkylarkError {
  return new SkylarkError(ENVIRONMENT.has(code) ? 'environment' : 'peer', code, message, details);
}
