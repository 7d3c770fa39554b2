/*
 * Skylink, the device's side: a small device hands its files to a host over a serial line or anything else that carries
 * bytes. The protocol is in ../../PROTOCOL.md; numbers in comments are its sections.
 *
 * C99, no heap, no operating system, no stdio; also C++. Nothing here ever waits: the main loop calls skylink_poll(), which
 * does what can be done at once. Everything is called from that one loop, never from an interrupt.
 *
 * Copyright 2026 the Skylark authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef SKYLINK_H
#define SKYLINK_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Compile-time choices, for the library's own files only: the types below are the same with all of them.
 *
 *   SKYLINK_READ_ONLY   leaves out WRITE and DELETE
 *   SKYLINK_BUSY_MS     what a host is told to wait after SKYLINK_BUSY, milliseconds; default 100
 */

/* 2: bytes of a frame's content, smallest and largest. */
#define SKYLINK_SMALLEST_CONTENT 64
#define SKYLINK_LARGEST_CONTENT 4106

/* 4.1: what a device can do, bits of skylink_device.capabilities. */
enum {
  SKYLINK_CAN_SINCE = 1 << 0,      /* `next` honours `since` */
  SKYLINK_CAN_TOMBSTONES = 1 << 1, /* `next` with `since` also gives deleted files */
  SKYLINK_CAN_HASH = 1 << 2,
  SKYLINK_CAN_WRITE = 1 << 3,
  SKYLINK_CAN_DELETE = 1 << 4,
  SKYLINK_CAN_TIME = 1 << 5,
  SKYLINK_CAN_EVENTS = 1 << 6,
  SKYLINK_CAN_SHOW = 1 << 7,
  SKYLINK_HAS_BUTTON = 1 << 8,
  SKYLINK_HAS_BATTERY = 1 << 9
};

/* 4.11: how something went. All but SKYLINK_OK reach the host as ERR. */
typedef uint8_t skylink_status;
enum {
  SKYLINK_OK = 0,
  SKYLINK_UNSUPPORTED = 1,
  SKYLINK_MALFORMED = 2,
  SKYLINK_NOT_FOUND = 3,
  SKYLINK_CHANGED = 4,
  SKYLINK_RANGE = 5,
  SKYLINK_FULL = 6,
  SKYLINK_BUSY = 7, /* not now: the host asks again after SKYLINK_BUSY_MS */
  SKYLINK_REFUSED = 8,
  SKYLINK_EXISTS = 9,
  SKYLINK_STORAGE = 10, /* the device's own memory failed */
  SKYLINK_TRANSFER = 11
};

/* 4.2: bits of skylink_file.flags. */
enum { SKYLINK_DELETED = 1 << 0, SKYLINK_OPEN = 1 << 1, SKYLINK_FIXED = 1 << 2 };

/* 4.2 */
typedef struct skylink_file {
  uint32_t id;         /* names the file as long as it exists, through changes of name and content */
  uint32_t generation; /* another one for each content; for one ID never the same again */
  uint32_t size;       /* bytes */
  uint32_t mtime;      /* seconds since 1970; 0: not known */
  const char *name;    /* UTF-8, no zero needed; may lie in a buffer that the next call overwrites */
  uint8_t name_length; /* what does not fit the output buffer (name + 31 bytes) is cut off */
  uint8_t flags;
} skylink_file;

/* 4.6: a file that the host wants to store. */
typedef struct skylink_incoming {
  uint32_t size;
  uint32_t mtime;   /* seconds since 1970; 0: not known */
  const char *name; /* data from outside, without a zero behind it; gone when write_begin returns */
  uint8_t name_length;
  bool replace; /* a file of this name may be replaced; otherwise SKYLINK_EXISTS */
} skylink_incoming;

/*
 * The device's files: whatever the storage is, it is seen through these functions. Each gets skylink_device.context. What
 * takes longer than a tenth of a second should answer SKYLINK_BUSY and go on by itself.
 */
typedef struct skylink_files {
  /* Files there are, without deleted ones. */
  uint32_t (*count)(void *context);

  /*
   * The first file at or behind *cursor, in any order that stays the same during a listing; 0 is the beginning. Puts behind
   * it *cursor, never 0. With SKYLINK_CAN_SINCE only files that changed (content, name, flags) after the change counter was
   * `since`; 0: all. SKYLINK_NOT_FOUND at the end.
   */
  skylink_status (*next)(void *context, uint32_t since, uint32_t *cursor, skylink_file *file);

  /* The file with that ID. Called before each piece that is read: keep what it tells in RAM or near it. */
  skylink_status (*stat)(void *context, uint32_t id, skylink_file *file);

  /* Exactly `length` bytes, at least 1, which lie within the size that stat told last. */
  skylink_status (*read)(void *context, uint32_t id, uint32_t offset, uint8_t *bytes, uint16_t length);

  /* All below may be NULL where the device only gives. */

  /* 4.7: existence, generation and SKYLINK_FIXED have been checked. */
  skylink_status (*remove)(void *context, uint32_t id);

  /*
   * 4.6: nothing of a transfer may be visible, also after a power cut, before write_commit; then all of it is. An
   * unfinished transfer has been ended by write_abort before this is called.
   */
  skylink_status (*write_begin)(void *context, const skylink_incoming *file);

  /* The next bytes in order, never more in all than write_begin announced. */
  skylink_status (*write_data)(void *context, const uint8_t *bytes, uint16_t length);

  /* Size and CRC-32C of the content are right. On failure but SKYLINK_BUSY write_abort follows. */
  skylink_status (*write_commit)(void *context, uint32_t *id, uint32_t *generation);

  void (*write_abort)(void *context);
} skylink_files;

/* 4.10: what SHOW is to show. */
enum { SKYLINK_SHOW_NOTHING = 0, SKYLINK_SHOW_TEXT = 1, SKYLINK_SHOW_CODE = 2, SKYLINK_SHOW_URL = 3 };

/* 4.9: levels of skylink_log. */
enum { SKYLINK_DEBUG = 0, SKYLINK_INFO = 1, SKYLINK_WARNING = 2, SKYLINK_ERROR = 3 };

/* What a device is. Never written by the library: it may lie in flash. */
typedef struct skylink_device {
  void *context; /* given to each function below and in `files` */

  /* The next byte from the host, 0 to 255; -1: none at the moment. */
  int (*read)(void *context);
  /* Takes one byte for the host; false: not at the moment. Must not wait. */
  bool (*write)(void *context, uint8_t byte);
  /* Milliseconds since any moment; wraps around after 2^32. */
  uint32_t (*now)(void *context);

  const skylink_files *files;

  /* 4.10: may be NULL without SKYLINK_CAN_SHOW. When its time is over, SKYLINK_SHOW_NOTHING. Text without a zero behind it. */
  void (*show)(void *context, uint8_t kind, const char *text, uint8_t length);
  /* 4.8: tells of a new time; for a clock chip. May be NULL: skylink_time() goes by `now`. */
  void (*set_clock)(void *context, uint32_t seconds, uint16_t milliseconds, int16_t zone_minutes);

  /* 64 to 4106 bytes. Larger ones carry more per frame: 254 is good, 1024 better above 115200 baud. */
  uint8_t *input;
  uint8_t *output;
  uint16_t input_size;
  uint16_t output_size;
  /* Bytes that the serial driver keeps while the library is not looking; 0: not known. Lets the host send ahead. */
  uint16_t driver_buffer;

  uint16_t capabilities;
  const char *model;    /* for people, at most 32 bytes of UTF-8 */
  const char *firmware; /* the same */
  const uint8_t *id;    /* the same for ever, another one in each device: the chip's serial number */
  uint8_t id_length;    /* 1 to 32 */
} skylink_device;

/* One line to a host. All fields are the library's own; the small ones stand first, where small processors reach them best. */
typedef struct skylink {
  uint8_t in_left, out_left;
  bool in_full, in_broken, in_ready;
  bool out_full;
  uint8_t out_stage;
  uint8_t job, seq, asked;
  uint8_t subscribed, pending;
  uint8_t battery, flags;
  uint8_t log_level;
  uint16_t in_length, in_at;
  uint16_t out_length, out_at;
  uint16_t send; /* largest content that both sides can bear */
  uint16_t index;
  uint16_t presses;
  uint16_t milliseconds;
  uint16_t capabilities;
  const skylink_device *device;
  /* Fields of the present question; while LIST, READ or HASH are answered, their place. */
  uint32_t field[5];
  uint32_t place, crc, began;
  uint32_t boot, epoch, counter;
  uint32_t last;    /* `now` at the last poll */
  uint32_t seconds; /* the clock; 0: not set */
  uint32_t showing; /* milliseconds left */
  const char *log_text;
  uint32_t transfer, transfer_size, taken, taken_crc;
  uint32_t committed, committed_id, committed_generation;
} skylink;

/*
 * Begins. `boot` is random, another one at each start, best of a counter that outlives the power and of noise. `epoch` and `counter`
 * come from the storage; if it does not keep its change counter, `epoch` is `boot`.
 * False when a buffer is not 64 to 4106 bytes long or the ID not 1 to 32; then nothing else may be called.
 */
bool skylink_begin(skylink *link, const skylink_device *device, uint32_t boot, uint32_t epoch, uint32_t counter);

/*
 * Does what can be done at once: takes what came, goes on with an answer, sends. At most one frame is begun in one call.
 * To be called at least every 100 ms, and often enough that the serial driver's buffer does not overflow.
 */
void skylink_poll(skylink *link);

/* Whether nothing is being sent or answered: a good moment to sleep until the next byte comes. */
bool skylink_is_idle(const skylink *link);

/* The change counter has grown: any file came, went, changed, or got another name. */
void skylink_files_changed(skylink *link, uint32_t counter);

/* The share button was pressed. */
void skylink_button(skylink *link);

/* Percent; 255: none, or not known. Tell changes of a few percent, not every measurement. */
void skylink_battery(skylink *link, uint8_t percent);

/* Whether a recording is under way. */
void skylink_recording(skylink *link, bool recording);

/*
 * A line for the maker, UTF-8. The text must stay as it is until it is sent, as a literal does; it is cut to the output
 * buffer less 9 bytes. False: the host does not want it, or the line before has not been sent yet.
 */
bool skylink_log(skylink *link, uint8_t level, const char *text);

/* Seconds since 1970 by the clock that the host has set; 0: not set yet. Right while skylink_poll is called within 49 days. */
uint32_t skylink_time(const skylink *link);

/* Sets that clock from the device's own clock chip. */
void skylink_set_time(skylink *link, uint32_t seconds, uint16_t milliseconds);

/* CRC-32C (Castagnoli) of more bytes behind those that gave `crc`; 0 begins. For storage that keeps checksums. */
uint32_t skylink_crc32c(uint32_t crc, const uint8_t *bytes, uint16_t length);

#ifdef __cplusplus
}
#endif

#endif
