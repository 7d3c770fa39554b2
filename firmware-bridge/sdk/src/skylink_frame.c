/* Frames on the line: byte stuffing and checksum, without a second buffer. SPDX-License-Identifier: Apache-2.0 */

#include "skylink_frame.h"

/* What the CRC of a content with its own CRC behind it always is. */
#define CRC_RESIDUE 0x48674BC7u

/* A piece of 254 bytes has no zero behind it. */
#define FULL_PIECE 254
#define FULL_CODE 255

#define FIRST_QUESTION 0x01
#define LAST_QUESTION 0x3F

/* So that a line that never pauses does not keep the main loop. */
#define MOST_INPUT 256

enum { IDLE, BEFORE, CODE, BYTES, BEHIND };

#ifndef __AVR__
/* Of the 16 values of four bits. On AVR it would take RAM. */
static const uint32_t crc_table[16] = {
    0x00000000u, 0x105EC76Fu, 0x20BD8EDEu, 0x30E349B1u, 0x417B1DBCu, 0x5125DAD3u, 0x61C69362u, 0x7198540Du,
    0x82F63B78u, 0x92A8FC17u, 0xA24BB5A6u, 0xB21572C9u, 0xC38D26C4u, 0xD3D3E1ABu, 0xE330A81Au, 0xF36E6F75u};
#endif

uint32_t skylink_crc32c(uint32_t crc, const uint8_t *bytes, uint16_t length) {
  crc = ~crc;
  while (length-- > 0) {
    crc ^= *bytes++;
#ifdef __AVR__
    for (uint8_t bit = 0; bit < 8; bit++) crc = (crc & 1) ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
#else
    crc = (crc >> 4) ^ crc_table[crc & 15];
    crc = (crc >> 4) ^ crc_table[crc & 15];
#endif
  }
  return ~crc;
}

static void store(skylink *link, uint8_t byte) {
  if (link->in_length == link->device->input_size) {
    link->in_broken = true;
  } else {
    link->device->input[link->in_length++] = byte;
  }
}

/* At a zero byte: was that a question? */
static bool is_question(const skylink *link) {
  const uint8_t *content = link->device->input;
  return !link->in_broken && link->in_left == 0 && link->in_length >= SKYLINK_OVERHEAD &&
         content[0] >= FIRST_QUESTION && content[0] <= LAST_QUESTION && content[1] != 0 &&
         skylink_crc32c(0, content, link->in_length) == CRC_RESIDUE;
}

void skylink_frame_receive(skylink *link) {
  for (uint16_t taken = 0; taken < MOST_INPUT && !link->in_ready; taken++) {
    int byte = link->device->read(link->device->context);
    if (byte < 0) return;
    if (byte == 0) {
      link->in_ready = is_question(link);
      link->in_length = link->in_ready ? (uint16_t)(link->in_length - SKYLINK_CRC_LENGTH) : 0;
      link->in_at = 2;
      link->in_left = 0;
      link->in_broken = false;
      /* No zero stands before the first piece, either. */
      link->in_full = true;
    } else if (!link->in_broken) {
      if (link->in_left > 0) {
        link->in_left--;
        store(link, (uint8_t)byte);
      } else {
        if (!link->in_full) store(link, 0);
        link->in_left = (uint8_t)(byte - 1);
        link->in_full = byte == FULL_CODE;
      }
    }
  }
}

static uint8_t piece_length(const skylink *link) {
  const uint8_t *bytes = link->device->output + link->out_at;
  uint16_t rest = (uint16_t)(link->out_length - link->out_at);
  uint8_t length = 0;
  while (length < FULL_PIECE && length < rest && bytes[length] != 0) length++;
  return length;
}

bool skylink_frame_send(skylink *link) {
  while (link->out_stage != IDLE) {
    uint8_t byte = 0;
    uint8_t length = 0;
    if (link->out_stage == CODE) {
      length = piece_length(link);
      byte = (uint8_t)(length + 1);
    } else if (link->out_stage == BYTES) {
      byte = link->device->output[link->out_at];
    }
    if (!link->device->write(link->device->context, byte)) return false;

    if (link->out_stage == BEFORE) {
      link->out_stage = CODE;
    } else if (link->out_stage == BEHIND) {
      link->out_stage = IDLE;
    } else {
      if (link->out_stage == CODE) {
        link->out_left = length;
        link->out_full = length == FULL_PIECE;
      } else {
        link->out_at++;
        link->out_left--;
      }
      if (link->out_left > 0) {
        link->out_stage = BYTES;
      } else if (link->out_at == link->out_length) {
        link->out_stage = BEHIND;
      } else {
        if (!link->out_full) link->out_at++;
        link->out_stage = CODE;
      }
    }
  }
  return true;
}

void skylink_put8(skylink *link, uint8_t value) {
  if (link->out_length < link->send - SKYLINK_CRC_LENGTH) link->device->output[link->out_length++] = value;
}

void skylink_put16(skylink *link, uint16_t value) {
  skylink_put8(link, (uint8_t)value);
  skylink_put8(link, (uint8_t)(value >> 8));
}

void skylink_put32(skylink *link, uint32_t value) {
  skylink_put16(link, (uint16_t)value);
  skylink_put16(link, (uint16_t)(value >> 16));
}

void skylink_put32s(skylink *link, const uint32_t *values, uint8_t count) {
  while (count-- > 0) skylink_put32(link, *values++);
}

void skylink_put_text(skylink *link, const char *text, uint8_t length, uint8_t reserve) {
  uint16_t room = (uint16_t)(link->send - SKYLINK_CRC_LENGTH - link->out_length - 1 - reserve);
  if (length > room) length = (uint8_t)room;
  skylink_put8(link, length);
  while (length-- > 0) skylink_put8(link, (uint8_t)*text++);
}

void skylink_frame_end(skylink *link) {
  uint8_t *end = link->device->output + link->out_length;
  uint32_t crc = skylink_crc32c(0, link->device->output, link->out_length);
  for (uint8_t i = 0; i < SKYLINK_CRC_LENGTH; i++) {
    *end++ = (uint8_t)crc;
    crc >>= 8;
  }
  link->out_length = (uint16_t)(link->out_length + SKYLINK_CRC_LENGTH);
  link->out_at = 0;
  link->out_stage = BEFORE;
}
