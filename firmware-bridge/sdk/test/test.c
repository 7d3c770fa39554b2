/* The library against the shared test vectors and against garbage. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../examples/memory-files.h"
#include "../src/skylink_answer.h"
#include "vectors.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define CHECK(what) ((what) ? (void)0 : fail(#what, __LINE__))

static void fail(const char *what, int line) {
  fprintf(stderr, "test.c:%d: %s does not hold\n", line, what);
  exit(1);
}

/* The line, as arrays. */
static uint8_t to_device[8192], from_device[65536];
static size_t to_device_at, to_device_length, from_device_length, room;
static uint32_t time_now;

static int read_byte(void *context) {
  (void)context;
  return to_device_at < to_device_length ? to_device[to_device_at++] : -1;
}
static bool write_byte(void *context, uint8_t byte) {
  (void)context;
  if (room == 0 || from_device_length == sizeof from_device) return false;
  room--;
  from_device[from_device_length++] = byte;
  return true;
}
static uint32_t now(void *context) {
  (void)context;
  return time_now;
}
static char shown[256];
static void show(void *context, uint8_t kind, const char *text, uint8_t length) {
  (void)context;
  memcpy(shown, text, length);
  shown[length] = 0;
  if (kind == SKYLINK_SHOW_NOTHING) shown[0] = 0;
}

static uint8_t arena[4000];
static memory_files files;
/* On the heap, so that ASan sees a byte too far. */
static uint8_t *input, *output;
static skylink_device device;
static skylink link_;

static void restart(uint16_t input_size, uint16_t output_size) {
  static const uint8_t id[] = {1, 2, 3};
  free(input);
  free(output);
  input = malloc(input_size);
  output = malloc(output_size);
  memset(&device, 0, sizeof device);
  device.context = &files;
  device.read = read_byte;
  device.write = write_byte;
  device.now = now;
  device.files = &memory_files_table;
  device.show = show;
  device.input = input;
  device.output = output;
  device.input_size = input_size;
  device.output_size = output_size;
  device.capabilities = 0x03FF & ~SKYLINK_CAN_TOMBSTONES;
  device.model = "Test";
  device.firmware = "1";
  device.id = id;
  device.id_length = sizeof id;
  memory_files_begin(&files, arena, sizeof arena);
  CHECK(memory_files_save(&files, "a.mid", 5, (const uint8_t *)"MThd\0", 5, 0) == SKYLINK_OK);
  CHECK(skylink_begin(&link_, &device, 7, 8, files.counter));
  from_device_length = to_device_length = to_device_at = 0;
}

static void feed(const uint8_t *bytes, size_t length) {
  memcpy(to_device, bytes, length);
  to_device_at = 0;
  to_device_length = length;
}

/* Until nothing more comes of it. Bounded, as everything that a question can ask for is. */
static void settle(void) {
  for (int i = 0; i < 100000; i++) {
    room = sizeof from_device;
    if (from_device_length > sizeof from_device / 2) from_device_length = 0;
    skylink_poll(&link_);
    if (to_device_at == to_device_length && skylink_is_idle(&link_)) return;
  }
  fail("it comes to an end", __LINE__);
}

static size_t frame(uint8_t *line, uint8_t type, uint8_t seq, const uint8_t *body, uint16_t length) {
  uint8_t content[300];
  size_t at = 2, code = 1;
  content[0] = type;
  content[1] = seq;
  memcpy(content + 2, body, length);
  uint32_t crc = skylink_crc32c(0, content, (uint16_t)(length + 2));
  for (int i = 0; i < 4; i++) content[length + 2 + i] = (uint8_t)(crc >> 8 * i);
  line[0] = 0;
  for (int i = 0; i < length + 6; i++) {
    if (content[i] != 0) line[at++] = content[i];
    if (content[i] == 0 || at - code == 255) {
      line[code] = (uint8_t)(at - code);
      code = at++;
    }
  }
  line[code] = (uint8_t)(at - code);
  line[at++] = 0;
  return at;
}

static void test_vectors(void) {
  for (size_t i = 0; i < COUNT(crc_vectors); i++) {
    CHECK(skylink_crc32c(0, crc_vectors[i].bytes, crc_vectors[i].length) == crc_vectors[i].value);
  }
  for (size_t i = 0; i < COUNT(frame_vectors); i++) {
    const frame_vector *one = &frame_vectors[i];
    restart(400, 400);
    link_.send = 400;
    link_.seq = one->seq;
    skylink_answer(&link_, one->type);
    for (uint16_t j = 0; j < one->body_length; j++) skylink_put8(&link_, one->body[j]);
    skylink_frame_end(&link_);
    room = sizeof from_device;
    CHECK(skylink_frame_send(&link_));
    CHECK(from_device_length == one->length && memcmp(from_device, one->line, one->length) == 0);
    feed(one->line, one->length);
    skylink_frame_receive(&link_);
    CHECK(link_.in_ready == (one->type < 0x40));
    if (!link_.in_ready) continue;
    CHECK(link_.in_length == one->body_length + 2 && memcmp(input + 2, one->body, one->body_length) == 0);
  }
  for (size_t i = 0; i < COUNT(refused_vectors); i++) {
    restart(64, 64);
    feed(refused_vectors[i].bytes, refused_vectors[i].length);
    settle();
    CHECK(from_device_length == 0);
  }
  for (size_t i = 0; i < COUNT(stream_vectors); i++) {
    uint32_t questions = 0;
    restart(64, 64);
    feed(stream_vectors[i].bytes, stream_vectors[i].length);
    while (to_device_at < to_device_length) {
      skylink_frame_receive(&link_);
      questions += link_.in_ready;
      link_.in_ready = false;
      link_.in_length = 0;
    }
    CHECK(questions == stream_vectors[i].value);
  }
}

/* The only frame that came back: its type. */
static uint8_t ask(uint8_t type, const void *body, uint16_t length) {
  static uint8_t line[400];
  from_device_length = 0;
  feed(line, frame(line, type, 9, body, length));
  settle();
  CHECK(from_device_length >= 8 && from_device[0] == 0);
  /* A first piece that ends behind the type has a zero for its seq, which no answer has. */
  CHECK(from_device[1] > 2 && from_device[3] == 9);
  return from_device[2];
}

static void test_refusals(void) {
  restart(254, 254);
  CHECK(ask(SKYLINK_HELLO, "\1\0\20", 3) == 0x81);
  CHECK(ask(0x3F, "", 0) == SKYLINK_ERR && from_device[4] == SKYLINK_UNSUPPORTED);
  CHECK(ask(SKYLINK_LIST, "", 0) == SKYLINK_ERR && from_device[4] == SKYLINK_MALFORMED);
  CHECK(ask(SKYLINK_STAT, "\7\7\7\7", 4) == SKYLINK_ERR && from_device[4] == SKYLINK_NOT_FOUND);
  CHECK(ask(SKYLINK_READ, "\1\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0\1\0", 18) == SKYLINK_ERR && from_device[4] == SKYLINK_CHANGED);
  CHECK(ask(SKYLINK_READ, "\1\0\0\0\1\0\0\0\6\0\0\0\1\0\0\0\1\0", 18) == SKYLINK_ERR && from_device[4] == SKYLINK_RANGE);
  CHECK(ask(SKYLINK_HASH, "\1\0\0\0\1\0\0\0\0\0\0\0\5\0\0\0", 16) == 0x84);
  CHECK(ask(SKYLINK_SHOW, "\1\1\0\2hi", 6) == SKYLINK_DONE && strcmp(shown, "hi") == 0);
  time_now += 1001;
  skylink_poll(&link_);
  CHECK(shown[0] == 0);
  uint8_t delete_answer = ask(SKYLINK_DELETE, "\1\0\0\0\1\0\0\0", 8);
#ifdef SKYLINK_READ_ONLY
  CHECK(delete_answer == SKYLINK_ERR && from_device[4] == SKYLINK_UNSUPPORTED);
#else
  CHECK(delete_answer == SKYLINK_DONE);
#endif
}

/* A READ that the next question ends after the frame that is going out: no END comes. */
static void test_new_question(void) {
  static uint8_t content[3000], line[64];
  restart(64, 64);
  CHECK(memory_files_save(&files, "b", 1, content, sizeof content, 0) == SKYLINK_OK);
  const uint8_t question[] = {2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 255, 0};
  feed(line, frame(line, SKYLINK_READ, 3, question, sizeof question));
  for (int i = 0; i < 5; i++) {
    room = 100;
    skylink_poll(&link_);
  }
  CHECK(link_.job == SKYLINK_READ);
  CHECK(ask(SKYLINK_STAT, "\1\0\0\0", 4) == SKYLINK_FILE);
  CHECK(skylink_is_idle(&link_));
}

static uint32_t chance = 1;
static uint32_t random32(void) {
  chance = chance * 1664525u + 1013904223u;
  return chance >> 8;
}

static void fuzz(void) {
  static uint8_t body[256], line[400];
  for (int round = 0; round < 60000; round++) {
    if (round % 500 == 0) restart((uint16_t)(64 + random32() % 300), (uint16_t)(64 + random32() % 300));
    uint16_t length = (uint16_t)(random32() % 240);
    /* Small numbers mean something more often than large ones. */
    bool is_small = random32() & 1;
    for (uint16_t i = 0; i < length; i++) body[i] = (uint8_t)(is_small ? (i % 4 ? 0 : random32() % 6) : random32());
    if (round % 3 == 0) {
      feed(body, length);
    } else {
      size_t all = frame(line, (uint8_t)(random32() % 16), (uint8_t)(1 + random32() % 255), body, length);
      if (round % 3 == 1) line[random32() % all] ^= (uint8_t)(random32() % 4);
      feed(line, all);
    }
    if (random32() % 8 == 0) skylink_button(&link_);
    if (random32() % 8 == 0) (void)skylink_log(&link_, SKYLINK_INFO, "a line");
    /* A line that takes little at a time. */
    for (int i = 0; i < 3; i++) {
      room = random32() % 50;
      skylink_poll(&link_);
    }
    settle();
    CHECK(files.occupied <= files.capacity);
  }
  /* Whatever happened, it still knows who it is. */
  feed((const uint8_t *)"\0", 1);
  settle();
  CHECK(ask(SKYLINK_HELLO, "\1\0\20", 3) == 0x81);
}

int main(void) {
  test_vectors();
  test_refusals();
  test_new_question();
  fuzz();
  free(input);
  free(output);
  puts("the library holds");
  return 0;
}
