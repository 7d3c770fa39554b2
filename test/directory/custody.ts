/** What tests of an owner's requests have in common: files that rot, versions that were replaced, verifications. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import type { ArchivedFile } from '../../agent/directory/archive.ts';
import type { Contents } from '../../agent/directory/read-contents.ts';
import type { VerifyResult, VerifyStep } from '../../agent/directory/verify.ts';
import { eventually } from '../support/eventually.ts';
import { connect, type Member, withClub } from './members.ts';

export const never = new AbortController().signal;
export const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex');
export const text = (member: Member, path: string) => readFileSync(member.at(path), 'utf8');

export async function settle(member: Member): Promise<void> {
  await member.share.rescan();
  await member.share.settled();
}

/** Changes a byte and nothing else, as a disk does: the times of the inode as they are known stay true. */
export function rot(member: Member, path: string): void {
  const bytes = readFileSync(member.at(path));
  const before = statSync(member.at(path), { bigint: true });
  bytes[0] = (bytes[0] ?? 0) ^ 0x10;
  member.share.pause();
  writeFileSync(member.at(path), bytes);
  const seconds = Number(before.mtimeNs) / 1e9;
  utimesSync(member.at(path), seconds, seconds);
  // No program can set the time of an inode: so what is known of it is made to fit instead.
  const now = statSync(member.at(path), { bigint: true });
  const name = path.slice(path.lastIndexOf('/') + 1);
  member.sqlite
    .prepare('UPDATE directory_file SET mtime = ?, ctime = ? WHERE name = ?')
    .run(now.mtimeNs, now.ctimeNs, name);
  member.share.resume();
}

export async function verify(
  member: Member,
  signal = never,
): Promise<{ steps: VerifyStep[]; result: VerifyResult }> {
  const steps: VerifyStep[] = [];
  const running = member.share.custody.verifier.verify(signal);
  for (;;) {
    const step = await running.next();
    if (step.done) return { steps, result: step.value };
    steps.push(step.value);
  }
}

export const told = (steps: readonly VerifyStep[]) =>
  steps.flatMap((step) => (step.kind === 'file' ? [[step.path, step.outcome]] : []));
export const problems = (member: Member) => member.share.problems().map(({ code, paths }) => [code, paths]);
export const versions = (member: Member, path: string): ArchivedFile[] => [...member.share.history(path)];

export function newest(member: Member, path: string): ArchivedFile {
  return member.share.custody.history.version(path, undefined);
}

export async function everything(contents: Contents): Promise<Buffer> {
  const bytes = Buffer.alloc(Number(contents.size));
  for (let at = 0; at < bytes.length; ) {
    const count = await contents.read(bytes.subarray(at, at + 100_000), BigInt(at));
    assert.ok(count > 0);
    at += count;
  }
  await contents.close();
  return bytes;
}

/** Two members with what `a` had: `/song` was replaced and `/gone` deleted, which `b` has in its archive. */
export async function withHistory(body: (a: Member, b: Member) => Promise<void>): Promise<void> {
  await withClub(async (club) => {
    const [a, b] = [await club.member('a'), await club.member('b')];
    writeFileSync(a.at('song'), 'first');
    writeFileSync(a.at('gone'), 'was here');
    await settle(a);
    connect(a, b);
    await eventually('they arrive', () => existsSync(b.at('song')) && existsSync(b.at('gone')));
    writeFileSync(a.at('song'), 'second');
    unlinkSync(a.at('gone'));
    await settle(a);
    await eventually('it changes', () => text(b, 'song') === 'second' && !existsSync(b.at('gone')));
    await settle(b);
    await body(a, b);
  });
}
