/* How questions are answered. Inside the library only. SPDX-License-Identifier: Apache-2.0 */
#ifndef SKYLINK_ANSWER_H
#define SKYLINK_ANSWER_H

#include "skylink_frame.h"

enum {
  SKYLINK_HELLO = 0x01,
  SKYLINK_LIST = 0x02,
  SKYLINK_STAT = 0x03,
  SKYLINK_HASH = 0x04,
  SKYLINK_READ = 0x05,
  SKYLINK_WRITE_BEGIN = 0x06,
  SKYLINK_WRITE_DATA = 0x07,
  SKYLINK_WRITE_COMMIT = 0x08,
  SKYLINK_DELETE = 0x09,
  SKYLINK_TIME = 0x0A,
  SKYLINK_SUBSCRIBE = 0x0B,
  SKYLINK_SHOW = 0x0C,
  /* Most answers are their question with the high bit; the rest: */
  SKYLINK_ANSWER = 0x80,
  SKYLINK_DONE = 0x80,
  SKYLINK_FILE = 0x82,
  SKYLINK_DATA = 0x85,
  SKYLINK_LIST_END = 0x92,
  SKYLINK_END = 0x95,
  SKYLINK_EVENT = 0xA0,
  SKYLINK_LOG = 0xA1,
  SKYLINK_ERR = 0xFF
};

/* Begins the answer of that type to the present question; skylink_frame_end ends it. */
void skylink_answer(skylink *link, uint8_t type);

/* The file that the first two fields of the question name: its ID and generation. */
skylink_status skylink_find(skylink *link, skylink_file *file);

/*
 * 4.6 and 4.7. Fields of the question are in link->field, what follows them at link->in_at. The frame is begun and still to be
 * ended when SKYLINK_OK comes back.
 */
skylink_status skylink_write_begin(skylink *link);
skylink_status skylink_write_data(skylink *link);
skylink_status skylink_write_commit(skylink *link);
skylink_status skylink_delete(skylink *link);

/* A text at link->in_at; NULL if the body ends before it does. */
const char *skylink_take_text(skylink *link, uint8_t *length);

#endif
