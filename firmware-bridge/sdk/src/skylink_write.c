/* Files from the host, and their end: PROTOCOL.md, 4.6 and 4.7. SPDX-License-Identifier: Apache-2.0 */

#include "skylink_answer.h"

#ifndef SKYLINK_READ_ONLY

static void drop_transfer(skylink *link) {
  if (link->transfer == 0) return;
  link->transfer = 0;
  link->device->files->write_abort(link->device->context);
}

/* A device whose memory is busy keeps what it has; after any other failure the transfer is over. */
static skylink_status keep_or_drop(skylink *link, skylink_status status) {
  if (status != SKYLINK_OK && status != SKYLINK_BUSY) drop_transfer(link);
  return status;
}

static void answer_progress(skylink *link, uint8_t type) {
  skylink_answer(link, type);
  skylink_put32(link, link->field[0]);
  skylink_put32(link, link->taken);
}

skylink_status skylink_write_begin(skylink *link) {
  const skylink_device *device = link->device;
  skylink_incoming file;
  uint32_t transfer = link->field[0];
  file.size = link->field[1];
  file.mtime = link->field[2];
  file.replace = (link->field[3] & 1) != 0;
  file.name = skylink_take_text(link, &file.name_length);
  if (file.name == 0) return SKYLINK_MALFORMED;
  if (transfer == 0) return SKYLINK_REFUSED;
  if (transfer != link->transfer || file.size != link->transfer_size) {
    drop_transfer(link);
    skylink_status status = device->files->write_begin(device->context, &file);
    if (status != SKYLINK_OK) return status;
    if (transfer == link->committed) link->committed = 0;
    link->transfer = transfer;
    link->transfer_size = file.size;
    link->taken = 0;
    link->taken_crc = 0;
  }
  uint16_t chunk = (uint16_t)(device->input_size - SKYLINK_OVERHEAD - 8);
  answer_progress(link, SKYLINK_WRITE_BEGIN | SKYLINK_ANSWER);
  /* Half of what the driver keeps: small frames are half overhead. */
  skylink_put32(link, (uint32_t)chunk + device->driver_buffer / 2);
  skylink_put16(link, chunk);
  return SKYLINK_OK;
}

skylink_status skylink_write_data(skylink *link) {
  uint32_t transfer = link->field[0];
  uint32_t offset = link->field[1];
  if (transfer == 0 || transfer != link->transfer) return SKYLINK_TRANSFER;
  const uint8_t *bytes = link->device->input + link->in_at;
  uint16_t length = (uint16_t)(link->in_length - link->in_at);
  if (offset > link->transfer_size || length > link->transfer_size - offset) return SKYLINK_RANGE;
  if (offset == link->taken && length > 0) {
    skylink_status status = link->device->files->write_data(link->device->context, bytes, length);
    if (keep_or_drop(link, status) != SKYLINK_OK) return status;
    link->taken += length;
    link->taken_crc = skylink_crc32c(link->taken_crc, bytes, length);
  }
  answer_progress(link, SKYLINK_WRITE_DATA | SKYLINK_ANSWER);
  return SKYLINK_OK;
}

skylink_status skylink_write_commit(skylink *link) {
  const skylink_device *device = link->device;
  uint32_t transfer = link->field[0];
  uint32_t size = link->field[1];
  if (transfer == 0) return SKYLINK_TRANSFER;
  /* The answer to one that was committed may have been lost. */
  if (transfer != link->committed) {
    if (transfer != link->transfer) return SKYLINK_TRANSFER;
    skylink_status status = SKYLINK_TRANSFER;
    if (size == link->transfer_size && size == link->taken && link->field[2] == link->taken_crc) {
      status = device->files->write_commit(device->context, &link->committed_id, &link->committed_generation);
    }
    if (keep_or_drop(link, status) != SKYLINK_OK) return status;
    link->transfer = 0;
    link->committed = transfer;
  }
  skylink_answer(link, SKYLINK_WRITE_COMMIT | SKYLINK_ANSWER);
  skylink_put32(link, transfer);
  skylink_put32(link, link->committed_id);
  skylink_put32(link, link->committed_generation);
  return SKYLINK_OK;
}

skylink_status skylink_delete(skylink *link) {
  skylink_file file;
  skylink_status status = skylink_find(link, &file);
  if (status == SKYLINK_OK && (file.flags & SKYLINK_FIXED)) status = SKYLINK_REFUSED;
  if (status == SKYLINK_OK) status = link->device->files->remove(link->device->context, link->field[0]);
  skylink_answer(link, SKYLINK_DONE);
  return status;
}

#else

/* A file of C must not be empty. */
typedef int skylink_write_nothing;

#endif
