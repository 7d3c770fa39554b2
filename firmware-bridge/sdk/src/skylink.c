/* What questions mean, and what a device says unasked: PROTOCOL.md, 3 to 5. SPDX-License-Identifier: Apache-2.0 */

#include "skylink.h"

#include <stddef.h>

#include "skylink_answer.h"

#ifndef SKYLINK_BUSY_MS
#define SKYLINK_BUSY_MS 100
#endif

#define VERSION 1
#define NO_BATTERY 255
#define LONGEST_TEXT 32
#define NO_JOB 0
/* HASH covers what it can within this time. A host waits longer than that. Milliseconds. */
#define HASH_TIME 500
/* Of DATA: type, seq, offset and CRC. */
#define DATA_OVERHEAD (SKYLINK_OVERHEAD + 4)

/* 4.9: EVENT.kind; 1 << kind is its bit in SUBSCRIBE. */
enum { FILES_CHANGED, BUTTON_PRESSED, BATTERY, LOG_LINE };

/*
 * What each question is made of: two bits a field, the first one lowest; above them the number of the capability's bit that
 * it needs, 0: none. A text or rest at the end is left where it stands.
 */
enum { U8 = 1, U16 = 2, U32 = 3 };
#define FORM(need, a, b, c, d, e) ((need) << 12 | (e) << 8 | (d) << 6 | (c) << 4 | (b) << 2 | (a))
#define FIELDS_OF(form) ((form) & 0x03FF)
#define NEED_OF(form) ((form) >> 12)

static const uint16_t forms[] = {
    [SKYLINK_HELLO] = FORM(0, U8, U16, 0, 0, 0),
    [SKYLINK_LIST] = FORM(0, U32, U32, U16, 0, 0),
    [SKYLINK_STAT] = FORM(0, U32, 0, 0, 0, 0),
    [SKYLINK_HASH] = FORM(2, U32, U32, U32, U32, 0),
    [SKYLINK_READ] = FORM(0, U32, U32, U32, U32, U16),
    [SKYLINK_WRITE_BEGIN] = FORM(3, U32, U32, U32, U8, 0),
    [SKYLINK_WRITE_DATA] = FORM(3, U32, U32, 0, 0, 0),
    [SKYLINK_WRITE_COMMIT] = FORM(3, U32, U32, U32, 0, 0),
    [SKYLINK_DELETE] = FORM(4, U32, U32, 0, 0, 0),
    [SKYLINK_TIME] = FORM(5, U32, U16, U16, 0, 0),
    [SKYLINK_SUBSCRIBE] = FORM(0, U8, 0, 0, 0, 0),
    [SKYLINK_SHOW] = FORM(7, U8, U16, 0, 0, 0)};

/* Names for link->field while a range is read or hashed. */
enum { ID, GENERATION, OFFSET, RANGE_END, CHUNK };
/* And while files are listed; link->place is the change counter at the beginning. */
enum { SINCE, CURSOR, LIMIT };

/* Takes the fields of the question. False if its body ends before they do. */
static bool take_fields(skylink *link, uint16_t form) {
  uint32_t *field = link->field;
  for (form = FIELDS_OF(form); form != 0; form >>= 2) {
    uint8_t length = (uint8_t)(1 << ((form & 3) - 1));
    link->in_at = (uint16_t)(link->in_at + length);
    if (link->in_at > link->in_length) return false;
    const uint8_t *end = link->device->input + link->in_at;
    uint32_t value = 0;
    while (length-- > 0) value = value << 8 | *--end;
    *field++ = value;
  }
  return true;
}

const char *skylink_take_text(skylink *link, uint8_t *length) {
  uint16_t rest = (uint16_t)(link->in_length - link->in_at);
  const uint8_t *text = link->device->input + link->in_at;
  if (rest == 0 || text[0] >= rest) return NULL;
  *length = text[0];
  return (const char *)text + 1;
}

void skylink_answer(skylink *link, uint8_t type) {
  link->out_length = 0;
  skylink_put8(link, type);
  skylink_put8(link, link->seq);
}

static void put_file(skylink *link, uint32_t next, const skylink_file *file) {
  skylink_answer(link, SKYLINK_FILE);
  skylink_put16(link, link->index);
  skylink_put32(link, next);
  /* id, generation, size, mtime */
  skylink_put32s(link, &file->id, 4);
  skylink_put8(link, file->flags);
  skylink_put_text(link, file->name, file->name_length, 0);
}

static uint8_t length_of(const char *text, uint8_t most) {
  uint8_t length = 0;
  while (length < most && text[length] != 0) length++;
  return length;
}

static skylink_status stat_file(skylink *link, uint32_t id, skylink_file *file) {
  skylink_status status = link->device->files->stat(link->device->context, id, file);
  if (status == SKYLINK_OK && (file->flags & SKYLINK_DELETED)) status = SKYLINK_NOT_FOUND;
  return status;
}

skylink_status skylink_find(skylink *link, skylink_file *file) {
  skylink_status status = stat_file(link, link->field[ID], file);
  if (status == SKYLINK_OK && file->generation != link->field[GENERATION]) status = SKYLINK_CHANGED;
  return status;
}

/* 4.1. There is no version before 1. */
static void hello(skylink *link) {
  const skylink_device *device = link->device;
  uint16_t receive = (uint16_t)link->field[1];
  if (receive < SKYLINK_SMALLEST_CONTENT) receive = SKYLINK_SMALLEST_CONTENT;
  link->send = receive < device->output_size ? receive : device->output_size;
  skylink_answer(link, SKYLINK_HELLO | SKYLINK_ANSWER);
  skylink_put8(link, VERSION);
  skylink_put16(link, device->input_size);
  skylink_put16(link, link->send);
  skylink_put32(link, link->capabilities);
  skylink_put32s(link, &link->boot, 3);
  skylink_put_text(link, (const char *)device->id, device->id_length, 2);
  skylink_put_text(link, device->model, length_of(device->model, LONGEST_TEXT), 1);
  skylink_put_text(link, device->firmware, length_of(device->firmware, LONGEST_TEXT), 0);
}

/* 4.2 */
static void begin_list(skylink *link) {
  if (link->field[LIMIT] == 0) link->field[LIMIT] = 1;
  if (!(link->capabilities & SKYLINK_CAN_SINCE)) link->field[SINCE] = 0;
  link->place = link->counter;
  link->job = SKYLINK_LIST;
}

static skylink_status list_more(skylink *link) {
  const skylink_device *device = link->device;
  skylink_file file;
  uint32_t cursor = link->field[CURSOR];
  skylink_status status = device->files->next(device->context, link->field[SINCE], &cursor, &file);
  if (status == SKYLINK_OK && link->index < link->field[LIMIT]) {
    put_file(link, cursor, &file);
    link->index++;
    link->field[CURSOR] = cursor;
    return SKYLINK_OK;
  }
  /* Where there is more, it begins behind the last one that was sent. */
  if (status == SKYLINK_NOT_FOUND) {
    link->field[CURSOR] = 0;
    status = SKYLINK_OK;
  }
  link->job = NO_JOB;
  skylink_answer(link, SKYLINK_LIST_END);
  skylink_put16(link, link->index);
  skylink_put32(link, link->field[CURSOR]);
  skylink_put32(link, link->place);
  skylink_put32(link, device->files->count(device->context));
  return status;
}

/* 4.4 and 4.5: a range of a file, as HASH or READ. */
static skylink_status begin_range(skylink *link, uint8_t job) {
  skylink_file file;
  skylink_status status = skylink_find(link, &file);
  if (status != SKYLINK_OK) return status;
  uint16_t most = (uint16_t)(link->send - DATA_OVERHEAD);
  if (job == SKYLINK_HASH || link->field[CHUNK] > most) link->field[CHUNK] = most;
  if (link->field[CHUNK] == 0) link->field[CHUNK] = 1;
  uint32_t rest = file.size - link->field[OFFSET];
  if (link->field[OFFSET] > file.size) return SKYLINK_RANGE;
  if (link->field[RANGE_END] > rest) {
    if (job == SKYLINK_HASH) return SKYLINK_RANGE;
    link->field[RANGE_END] = rest;
  }
  link->field[RANGE_END] += link->field[OFFSET];
  link->place = link->field[OFFSET];
  link->crc = 0;
  link->began = link->last;
  link->job = job;
  return SKYLINK_OK;
}

/* The next piece of the range as DATA, if there is one: it is in the output buffer from `begin` on. */
static skylink_status range_more(skylink *link) {
  const skylink_device *device = link->device;
  skylink_file file;
  skylink_status status = skylink_find(link, &file);
  if (status != SKYLINK_OK) return status;
  /* A file that became shorter under the same generation has changed all the same. */
  if (file.size < link->field[RANGE_END]) return SKYLINK_CHANGED;
  uint32_t offset = link->field[OFFSET];
  uint32_t length = link->field[RANGE_END] - offset;
  if (length > link->field[CHUNK]) length = link->field[CHUNK];
  skylink_answer(link, SKYLINK_DATA);
  skylink_put32(link, offset);
  uint8_t *bytes = device->output + link->out_length;
  if (length > 0) {
    status = device->files->read(device->context, link->field[ID], offset, bytes, (uint16_t)length);
    if (status != SKYLINK_OK) return status;
    link->out_length = (uint16_t)(link->out_length + length);
    offset += length;
    link->field[OFFSET] = offset;
  }
  if (link->job == SKYLINK_READ) {
    if (length > 0) return SKYLINK_OK;
    skylink_answer(link, SKYLINK_END);
    skylink_put32(link, offset);
    skylink_put32(link, file.size);
  } else {
    /* What was read for HASH is not sent. */
    link->out_length = 0;
    link->crc = skylink_crc32c(link->crc, bytes, (uint16_t)length);
    /* It is not a stream that a new question ends: it gets its answer, a shorter one. */
    if (offset < link->field[RANGE_END] && !link->in_ready && link->last - link->began < HASH_TIME) return SKYLINK_OK;
    skylink_answer(link, SKYLINK_HASH | SKYLINK_ANSWER);
    skylink_put32(link, offset - link->place);
    skylink_put32(link, link->crc);
  }
  link->job = NO_JOB;
  return SKYLINK_OK;
}

/* 4.8 */
static void set_clock(skylink *link) {
  const skylink_device *device = link->device;
  uint32_t seconds = link->field[0];
  uint16_t milliseconds = (uint16_t)link->field[1];
  skylink_answer(link, SKYLINK_TIME | SKYLINK_ANSWER);
  skylink_put32(link, link->seconds);
  skylink_put16(link, link->milliseconds);
  skylink_set_time(link, seconds, milliseconds);
  if (device->set_clock != NULL) device->set_clock(device->context, seconds, milliseconds, (int16_t)link->field[2]);
}

/* 4.9 */
static void subscribe(skylink *link) {
  link->subscribed = (uint8_t)link->field[0];
  link->pending &= link->subscribed;
  skylink_answer(link, SKYLINK_SUBSCRIBE | SKYLINK_ANSWER);
  skylink_put32s(link, &link->boot, 3);
  skylink_put16(link, link->presses);
  skylink_put8(link, link->battery);
  skylink_put8(link, link->flags);
}

/* 4.10 */
static skylink_status show(skylink *link) {
  uint8_t length;
  const char *text = skylink_take_text(link, &length);
  if (text == NULL) return SKYLINK_MALFORMED;
  link->showing = link->field[1] * 1000;
  link->device->show(link->device->context, (uint8_t)link->field[0], text, length);
  skylink_answer(link, SKYLINK_DONE);
  return SKYLINK_OK;
}

static skylink_status answer(skylink *link, uint8_t question) {
  if (question >= sizeof forms / sizeof *forms) return SKYLINK_UNSUPPORTED;
  uint16_t form = forms[question];
  uint8_t need = (uint8_t)NEED_OF(form);
  if (need != 0 && !(link->capabilities >> need & 1)) return SKYLINK_UNSUPPORTED;
  if (!take_fields(link, form)) return SKYLINK_MALFORMED;
  link->index = 0;
  switch (question) {
    case SKYLINK_HELLO:
      hello(link);
      break;
    case SKYLINK_LIST:
      begin_list(link);
      break;
    case SKYLINK_STAT: {
      skylink_file file;
      skylink_status status = stat_file(link, link->field[ID], &file);
      if (status == SKYLINK_OK) put_file(link, 0, &file);
      return status;
    }
    case SKYLINK_HASH:
    case SKYLINK_READ:
      return begin_range(link, question);
#ifndef SKYLINK_READ_ONLY
    case SKYLINK_WRITE_BEGIN:
      return skylink_write_begin(link);
    case SKYLINK_WRITE_DATA:
      return skylink_write_data(link);
    case SKYLINK_WRITE_COMMIT:
      return skylink_write_commit(link);
    case SKYLINK_DELETE:
      return skylink_delete(link);
#endif
    case SKYLINK_TIME:
      set_clock(link);
      break;
    case SKYLINK_SUBSCRIBE:
      subscribe(link);
      break;
    default:
      return show(link);
  }
  return SKYLINK_OK;
}

static void announce(skylink *link) {
  uint8_t kind = 0;
  while (!(link->pending >> kind & 1)) kind++;
  link->pending &= (uint8_t)~(1 << kind);
  link->seq = 0;
  if (kind == LOG_LINE) {
    skylink_answer(link, SKYLINK_LOG);
    skylink_put8(link, link->log_level);
    skylink_put_text(link, link->log_text, length_of(link->log_text, 255), 0);
  } else {
    skylink_answer(link, SKYLINK_EVENT);
    skylink_put8(link, kind);
    skylink_put32(link, kind == FILES_CHANGED ? link->counter : kind == BUTTON_PRESSED ? link->presses : link->battery);
  }
}

/* Begins one frame, or does one step of an answer. The line is free. */
static void go_on(skylink *link) {
  skylink_status status = SKYLINK_OK;
  link->out_length = 0;
  if (link->in_ready && link->job != SKYLINK_HASH) {
    link->job = NO_JOB;
    link->asked = link->seq = link->device->input[1];
    status = answer(link, link->device->input[0]);
    link->in_ready = false;
    link->in_length = 0;
  } else if (link->pending != 0) {
    announce(link);
  } else {
    link->seq = link->asked;
    if (link->job == SKYLINK_LIST) {
      status = list_more(link);
    } else if (link->job != NO_JOB) {
      status = range_more(link);
    }
  }
  if (status != SKYLINK_OK) {
    link->job = NO_JOB;
    skylink_answer(link, SKYLINK_ERR);
    skylink_put8(link, status);
    skylink_put16(link, status == SKYLINK_BUSY ? SKYLINK_BUSY_MS : 0);
    skylink_put8(link, 0);
  }
  if (link->out_length > 0) skylink_frame_end(link);
}

static void tick(skylink *link) {
  const skylink_device *device = link->device;
  uint32_t now = device->now(device->context);
  uint32_t passed = now - link->last;
  link->last = now;
  if (link->showing > passed) {
    link->showing -= passed;
  } else if (link->showing > 0) {
    link->showing = 0;
    device->show(device->context, SKYLINK_SHOW_NOTHING, "", 0);
  }
  if (link->seconds == 0) return;
  /* No division: small processors have none. */
  for (passed += link->milliseconds; passed >= 1000; passed -= 1000) link->seconds++;
  link->milliseconds = (uint16_t)passed;
}

/* Nothing that the device has not got, whatever its maker claims. */
static uint16_t capabilities_of(const skylink_device *device) {
  uint16_t can = device->capabilities;
#ifdef SKYLINK_READ_ONLY
  can &= (uint16_t)~(SKYLINK_CAN_WRITE | SKYLINK_CAN_DELETE);
#else
  if (device->files->write_begin == NULL) can &= (uint16_t)~SKYLINK_CAN_WRITE;
  if (device->files->remove == NULL) can &= (uint16_t)~SKYLINK_CAN_DELETE;
#endif
  if (device->show == NULL) can &= (uint16_t)~SKYLINK_CAN_SHOW;
  return can;
}

static bool is_content_size(uint16_t size) {
  return size >= SKYLINK_SMALLEST_CONTENT && size <= SKYLINK_LARGEST_CONTENT;
}

bool skylink_begin(skylink *link, const skylink_device *device, uint32_t boot, uint32_t epoch, uint32_t counter) {
  uint8_t *bytes = (uint8_t *)link;
  for (uint16_t left = sizeof *link; left > 0; left--) *bytes++ = 0;
  link->device = device;
  link->boot = boot;
  link->epoch = epoch;
  link->counter = counter;
  link->battery = NO_BATTERY;
  link->capabilities = capabilities_of(device);
  link->send = SKYLINK_SMALLEST_CONTENT;
  link->in_full = true;
  link->last = device->now(device->context);
  return is_content_size(device->input_size) && is_content_size(device->output_size) && device->id_length >= 1 &&
         device->id_length <= LONGEST_TEXT;
}

void skylink_poll(skylink *link) {
  tick(link);
  bool is_free = skylink_frame_send(link);
  /* After each frame that was sent the line is listened to before the next one is begun. */
  skylink_frame_receive(link);
  if (!is_free) return;
  go_on(link);
  (void)skylink_frame_send(link);
}

bool skylink_is_idle(const skylink *link) {
  return link->out_stage == 0 && link->job == NO_JOB && !link->in_ready && link->pending == 0;
}

static void happened(skylink *link, uint8_t kind) {
  link->pending = (uint8_t)(link->pending | (link->subscribed & 1 << kind));
}

void skylink_files_changed(skylink *link, uint32_t counter) {
  link->counter = counter;
  if (link->capabilities & SKYLINK_CAN_EVENTS) happened(link, FILES_CHANGED);
}

void skylink_button(skylink *link) {
  link->presses++;
  if (link->capabilities & SKYLINK_CAN_EVENTS) happened(link, BUTTON_PRESSED);
}

void skylink_battery(skylink *link, uint8_t percent) {
  link->battery = percent;
  if (link->capabilities & SKYLINK_CAN_EVENTS) happened(link, BATTERY);
}

void skylink_recording(skylink *link, bool recording) { link->flags = recording; }

bool skylink_log(skylink *link, uint8_t level, const char *text) {
  if (link->pending >> LOG_LINE & 1 || !(link->subscribed >> LOG_LINE & 1)) return false;
  link->log_text = text;
  link->log_level = level;
  happened(link, LOG_LINE);
  return true;
}

uint32_t skylink_time(const skylink *link) { return link->seconds; }

void skylink_set_time(skylink *link, uint32_t seconds, uint16_t milliseconds) {
  link->seconds = seconds;
  link->milliseconds = milliseconds;
}
