/* Frames on the line: PROTOCOL.md, 2. Inside the library only. SPDX-License-Identifier: Apache-2.0 */
#ifndef SKYLINK_FRAME_H
#define SKYLINK_FRAME_H

#include "skylink.h"

/* type, seq and CRC */
#define SKYLINK_OVERHEAD 6
#define SKYLINK_CRC_LENGTH 4

/* Takes input until a question is complete (in_ready) or nothing more is there. */
void skylink_frame_receive(skylink *link);

/* Gives the line what it takes of the frame that is going out. True when none is left. */
bool skylink_frame_send(skylink *link);

/* The content is complete but for its CRC: it goes out from now on. */
void skylink_frame_end(skylink *link);

/* Each writes within the largest content, whatever it is given. Integers are little-endian. */
void skylink_put8(skylink *link, uint8_t value);
void skylink_put16(skylink *link, uint16_t value);
void skylink_put32(skylink *link, uint32_t value);
/* Several that stand together. */
void skylink_put32s(skylink *link, const uint32_t *values, uint8_t count);
/* A length (u8) and so many bytes, cut so that `reserve` more bytes find room behind them. */
void skylink_put_text(skylink *link, const char *text, uint8_t length, uint8_t reserve);

#endif
