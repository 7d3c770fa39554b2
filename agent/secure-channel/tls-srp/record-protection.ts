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
import { hmacSha1, type Mac } from '../../crypto/hash.ts';
import { fillRandom } from '../../crypto/random.ts';
import { ALERT, TlsError } from './alert.ts';
import { type ContentType, HEADER_BYTES, MAX_CONTENT_BYTES, type TlsRecord, writeHeader } from './record.ts';

export interface RecordKeys {
  readonly cipher: Uint8Array;
  readonly mac: Uint8Array;
}

const MAC_BYTES = 20;
/** HMAC-SHA1 takes the message in blocks of 64 bytes, and adds at least 9 of its own. */
const HASH_BLOCK = 64;
const HASH_TRAILER = 9;

/** What the MAC covers in front of the content: sequence number (64 bits), type, version, length. */
class MacHeader {
  readonly #bytes = new Uint8Array(8 + HEADER_BYTES);
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

/**
 * Where records are put together before they are encrypted. One for all connections: sealing never waits, and nothing
 * beyond the freshly written part is ever read.
 */
const scratch = new Uint8Array(AES_BLOCK + MAX_CONTENT_BYTES + MAC_BYTES + AES_BLOCK);

/** The writing side of a connection. */
export class RecordSealer {
  readonly #encrypt: BlockTransform;
  readonly #mac: Mac;
  readonly #macHeader = new MacHeader();
  readonly #encryptThenMac: boolean;

  constructor(keys: RecordKeys, encryptThenMac: boolean) {
    this.#encrypt = openCbcEncryption(keys.cipher);
    this.#mac = hmacSha1(keys.mac);
    this.#encryptThenMac = encryptThenMac;
  }

  /** Bytes on the wire for a record with this much content. */
  sealedLength(contentLength: number): number {
    const padded = AES_BLOCK + contentLength + (this.#encryptThenMac ? 0 : MAC_BYTES) + AES_BLOCK;
    return HEADER_BYTES + padded - (padded % AES_BLOCK) + (this.#encryptThenMac ? MAC_BYTES : 0);
  }

  /**
   * Writes one record to `out` at `offset`, and returns the offset behind it.
   * @param content at most 16384 bytes
   */
  seal(type: ContentType, content: Uint8Array, out: Uint8Array, offset: number): number {
    fillRandom(scratch.subarray(0, AES_BLOCK));
    scratch.set(content, AES_BLOCK);
    let end = AES_BLOCK + content.length;
    if (!this.#encryptThenMac) {
      scratch.set(this.#mac(this.#macHeader.next(type, content.length), content), end);
      end += MAC_BYTES;
    }
    const padding = AES_BLOCK - (end % AES_BLOCK);
    scratch.fill(padding - 1, end, end + padding);
    const encrypted = this.#encrypt(scratch.subarray(0, end + padding));

    const tag = this.#encryptThenMac
      ? this.#mac(this.#macHeader.next(type, encrypted.length), encrypted)
      : undefined;
    writeHeader(out, offset, type, encrypted.length + (tag?.length ?? 0));
    out.set(encrypted, offset + HEADER_BYTES);
    const behind = offset + HEADER_BYTES + encrypted.length;
    if (tag === undefined) return behind;
    out.set(tag, behind);
    return behind + tag.length;
  }
}

/** The reading side of a connection. After the first error it must not be used again. */
export class RecordOpener {
  readonly #decrypt: BlockTransform;
  readonly #mac: Mac;
  readonly #macHeader = new MacHeader();
  readonly #encryptThenMac: boolean;

  constructor(keys: RecordKeys, encryptThenMac: boolean) {
    this.#decrypt = openCbcDecryption(keys.cipher);
    this.#mac = hmacSha1(keys.mac);
    this.#encryptThenMac = encryptThenMac;
  }

  /**
   * The content, in memory of its own.
   * @throws TlsError bad_record_mac, the same for every way in which a record can be wrong.
   */
  open(record: TlsRecord): Uint8Array {
    const content = this.#encryptThenMac ? this.#verifyThenDecrypt(record) : this.#decryptThenVerify(record);
    if (content.length > MAX_CONTENT_BYTES)
      throw new TlsError(ALERT.recordOverflow, 'tls.record_overflow', 'a TLS record has too much content');
    return content;
  }

  /** RFC 7366, 3. */
  #verifyThenDecrypt({ type, body }: TlsRecord): Uint8Array {
    const length = body.length - MAC_BYTES;
    if (length < 2 * AES_BLOCK || length % AES_BLOCK !== 0) throw badRecord();
    const encrypted = body.subarray(0, length);
    const tag = this.#mac(this.#macHeader.next(type, length), encrypted);
    if (!equalSecret(tag, body.subarray(length))) throw badRecord();
    const plaintext = this.#decrypt(encrypted).subarray(AES_BLOCK);
    const padding = cbcPadding(plaintext, 0);
    if (!padding.good) throw badRecord();
    return plaintext.subarray(0, padding.length);
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
      Math.ceil((8 + HEADER_BYTES + content + HASH_TRAILER) / HASH_BLOCK) * HASH_BLOCK;
    const missing = hashed(plaintext.length - 1 - MAC_BYTES) - hashed(length);
    this.#mac(plaintext.subarray(0, missing));
  }
}

function badRecord(): TlsError {
  return new TlsError(ALERT.badRecordMac, 'tls.bad_record', 'a TLS record is not authentic');
}
