/**
 * Encryption and authentication of records with AES-CBC and HMAC-SHA1: RFC 5246, 6.2.3.2 (MAC, then encrypt) and
 * RFC 7366 (encrypt, then MAC). Without I/O.
 *
 * Each direction is one CBC chain that is never restarted. Every record begins with a random block, and the ciphertext
 * of that block is the record's explicit IV: unpredictable, since the random block is, and exactly the chaining value
 * with which the chain goes on. So the receiver, who takes the IV from the record, and the sender, who never sets one,
 * compute the same; and a receiver may run one chain too, if it throws away what the IV block decrypts to.
 */

import {
  AES_BLOCK,
  type BlockTransform,
  openCbcDecryption,
  openCbcEncryption,
} from '../../crypto/aes-cbc.ts';
import { cbcPadding, equalSecret } from '../../crypto/constant-time.ts';
import { hmacSha1, hmacSha1InPlace, type InPlaceMac, type Mac } from '../../crypto/hash.ts';
import { fillRandom } from '../../crypto/random.ts';
import { ALERT, TlsError } from './alert.ts';
import {
  type ContentType,
  HEADER_BYTES,
  MAX_BODY_BYTES,
  MAX_CONTENT_BYTES,
  type TlsRecord,
  writeHeader,
} from './record.ts';

export interface RecordKeys {
  readonly cipher: Uint8Array;
  readonly mac: Uint8Array;
}

const MAC_BYTES = 20;
/** HMAC-SHA1 takes the message in blocks of 64 bytes, and adds at least 9 of its own. */
const HASH_BLOCK = 64;
const HASH_TRAILER = 9;

/** What the MAC covers in front of the content: sequence number (64 bits), type, version, length. */
const MAC_HEADER_BYTES = 8 + HEADER_BYTES;

class MacHeader {
  readonly #bytes = new Uint8Array(MAC_HEADER_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  #sequence = 0n;

  /** For the next record; the result is good until the next call. 2^64 records are never reached. */
  next(type: ContentType, length: number): Uint8Array {
    this.#view.setBigUint64(0, this.#sequence);
    this.#sequence += 1n;
    writeHeader(this.#bytes, 8, type, length);
    return this.#bytes;
  }
}

/** Records that are sealed in one go. More gain nothing, and fall out of the processor's cache. */
const BATCH = 8;
/** The most content that one call of `seal` takes. */
export const MAX_SEALED_CONTENT = BATCH * MAX_CONTENT_BYTES;

/**
 * Several records make one call of the cipher. In front of each lie this many bytes that go through the cipher too, for
 * nothing but their room: for the MAC's key block and header while it is computed, and in a sealed batch for a record's
 * header and tag in the end. The chain doesn't mind, since every record begins with a block that is only an IV.
 */
const GAP = 5 * AES_BLOCK;

/**
 * Where batches are put together. One for all connections: neither sealing nor opening ever waits, and nothing beyond
 * the freshly written part is read.
 */
const scratch = new Uint8Array(BATCH * (GAP + MAX_BODY_BYTES));

/** The writing side of a connection. */
export class RecordSealer {
  readonly #encrypt: BlockTransform;
  readonly #mac: Mac;
  readonly #macInPlace: InPlaceMac;
  readonly #macHeader = new MacHeader();
  readonly #encryptThenMac: boolean;

  constructor(keys: RecordKeys, encryptThenMac: boolean) {
    this.#encrypt = openCbcEncryption(keys.cipher);
    this.#mac = hmacSha1(keys.mac);
    this.#macInPlace = hmacSha1InPlace(keys.mac);
    this.#encryptThenMac = encryptThenMac;
  }

  /**
   * The content as records, ready to be sent: one at least, each full but the last.
   * @param content at most MAX_SEALED_CONTENT bytes
   */
  seal(type: ContentType, content: Uint8Array): Uint8Array {
    const ends: number[] = [];
    let end = 0;
    do {
      const from = ends.length * MAX_CONTENT_BYTES;
      end = this.#arrange(type, content.subarray(from, from + MAX_CONTENT_BYTES), end + GAP);
      ends.push(end);
    } while (ends.length * MAX_CONTENT_BYTES < content.length);
    const out = this.#encrypt(scratch.subarray(0, end));
    // Each record moves left, over the gap in front of it, until it touches the one before.
    let sealed = 0;
    for (const [i, to] of ends.entries()) {
      const from = GAP + (ends[i - 1] ?? 0);
      sealed = this.#finish(type, out, from, to, sealed);
    }
    return out.subarray(0, sealed);
  }

  /** Puts the plaintext of one record into the scratch at `at`, and returns where it ends. */
  #arrange(type: ContentType, content: Uint8Array, at: number): number {
    fillRandom(scratch.subarray(at, at + AES_BLOCK));
    scratch.set(content, at + AES_BLOCK);
    let length = AES_BLOCK + content.length;
    if (!this.#encryptThenMac) {
      scratch.set(this.#mac(this.#macHeader.next(type, content.length), content), at + length);
      length += MAC_BYTES;
    }
    const padding = AES_BLOCK - (length % AES_BLOCK);
    scratch.fill(padding - 1, at + length, at + length + padding);
    return at + length + padding;
  }

  /** Makes the ciphertext from `from` to `to` a record at `at`, and returns where that ends. */
  #finish(type: ContentType, out: Uint8Array, from: number, to: number, at: number): number {
    const length = to - from;
    let tag: Uint8Array | undefined;
    if (this.#encryptThenMac) {
      const covered = from - MAC_HEADER_BYTES;
      out.set(this.#macHeader.next(type, length), covered);
      tag = this.#macInPlace(out, covered, to);
    }
    const body = at + HEADER_BYTES;
    out.copyWithin(body, from, to);
    writeHeader(out, at, type, length + (tag?.length ?? 0));
    if (tag === undefined) return body + length;
    out.set(tag, body + length);
    return body + length + tag.length;
  }
}

/** The reading side of a connection. After the first error it must not be used again. */
export class RecordOpener {
  readonly #decrypt: BlockTransform;
  readonly #mac: Mac;
  readonly #macInPlace: InPlaceMac;
  readonly #macHeader = new MacHeader();
  readonly #encryptThenMac: boolean;

  constructor(keys: RecordKeys, encryptThenMac: boolean) {
    this.#decrypt = openCbcDecryption(keys.cipher);
    this.#mac = hmacSha1(keys.mac);
    this.#macInPlace = hmacSha1InPlace(keys.mac);
    this.#encryptThenMac = encryptThenMac;
  }

  /**
   * The content of a record, and of as many following ones as fit one batch, in memory of its own.
   * @param following gives the next record if it is here already and of the same type
   * @throws TlsError bad_record_mac, the same for every way in which a record can be wrong.
   */
  open(first: TlsRecord, following: () => TlsRecord | undefined): Uint8Array {
    return this.#encryptThenMac
      ? this.#verifyThenDecrypt(first, following)
      : checkedLength(this.#decryptThenVerify(first));
  }

  /** RFC 7366, 3. Nothing is decrypted before all of the batch is known to be authentic. */
  #verifyThenDecrypt(first: TlsRecord, following: () => TlsRecord | undefined): Uint8Array {
    const ends: number[] = [];
    let end = 0;
    for (let record: TlsRecord | undefined = first; record !== undefined; ) {
      end = this.#admit(record, end + GAP);
      ends.push(end);
      record = end + GAP + MAX_BODY_BYTES <= scratch.length ? following() : undefined;
    }
    const plaintext = this.#decrypt(scratch.subarray(0, end));
    let length = 0;
    for (const [i, to] of ends.entries()) {
      const from = (ends[i - 1] ?? 0) + GAP + AES_BLOCK;
      const padded = plaintext.subarray(from, to);
      const padding = cbcPadding(padded, 0);
      if (!padding.good) throw badRecord();
      checkedLength(padded.subarray(0, padding.length));
      plaintext.copyWithin(length, from, from + padding.length);
      length += padding.length;
    }
    return plaintext.subarray(0, length);
  }

  /** Puts an authentic record's IV and ciphertext into the scratch at `at`, and returns where it ends. */
  #admit({ type, body }: TlsRecord, at: number): number {
    const length = body.length - MAC_BYTES;
    if (length < 2 * AES_BLOCK || length % AES_BLOCK !== 0) throw badRecord();
    scratch.set(body.subarray(0, length), at);
    const covered = at - MAC_HEADER_BYTES;
    scratch.set(this.#macHeader.next(type, length), covered);
    const tag = this.#macInPlace(scratch, covered, at + length);
    if (!equalSecret(tag, body.subarray(length))) throw badRecord();
    return at + length;
  }

  /** RFC 5246, 6.2.3.2. */
  #decryptThenVerify({ type, body }: TlsRecord): Uint8Array {
    const shortest = AES_BLOCK + MAC_BYTES + 1;
    if (body.length < shortest || body.length % AES_BLOCK !== 0) throw badRecord();
    const plaintext = this.#decrypt(body).subarray(AES_BLOCK);
    const padding = cbcPadding(plaintext, MAC_BYTES);
    const length = padding.length - MAC_BYTES;
    const content = plaintext.subarray(0, length);
    const tag = this.#mac(this.#macHeader.next(type, length), content);
    const macGood = equalSecret(tag, plaintext.subarray(length, padding.length));
    this.#evenOut(plaintext, length);
    // Both are known by now, and which one failed shows neither in the error nor in the work done (Lucky Thirteen).
    if (!macGood || !padding.good) throw badRecord();
    return content;
  }

  /** Hashes as many more blocks as the longest content that could have been in this record would have taken. */
  #evenOut(plaintext: Uint8Array, length: number): void {
    const hashed = (content: number) =>
      Math.ceil((MAC_HEADER_BYTES + content + HASH_TRAILER) / HASH_BLOCK) * HASH_BLOCK;
    const missing = hashed(plaintext.length - 1 - MAC_BYTES) - hashed(length);
    this.#mac(plaintext.subarray(0, missing));
  }
}

function checkedLength(content: Uint8Array): Uint8Array {
  if (content.length > MAX_CONTENT_BYTES)
    throw new TlsError(ALERT.recordOverflow, 'tls.record_overflow', 'a TLS record has too much content');
  return content;
}

function badRecord(): TlsError {
  return new TlsError(ALERT.badRecordMac, 'tls.bad_record', 'a TLS record is not authentic');
}
