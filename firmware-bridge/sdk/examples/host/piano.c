/*
 * A MIDI piano as a process: piano [--tcp PORT]. Speaks Skylink on a pseudo-terminal (its path is the first line of output) or on
 * 127.0.0.1. Its keys are lines on standard input:
 *
 *   record            plays and keeps a new performance          button            presses "share" (also SIGUSR1)
 *   battery PERCENT   runs down                                  display           tells what the display shows
 *   save NAME HEX     keeps those bytes                          rename NAME NAME  names are hexadecimal, too
 *   delete NAME       quit
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _XOPEN_SOURCE 600

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../memory-files.h"

#define LOW_BATTERY 20

static uint8_t arena[1 << 20];
static memory_files files;
static skylink link_to_host;
static int line = -1, listener = -1;
static uint8_t received[512], sending[4096];
static size_t received_at, received_length, sending_length;
static char display[256];
static uint32_t chance;
static volatile sig_atomic_t pressed;

static uint32_t random32(void) {
  chance ^= chance << 13;
  chance ^= chance >> 17;
  chance ^= chance << 5;
  return chance;
}

static void hang_up(void) {
  if (listener >= 0) {
    close(line);
    line = -1;
  }
  received_at = received_length = sending_length = 0;
}

static int read_byte(void *context) {
  (void)context;
  if (received_at == received_length && line >= 0) {
    ssize_t length = read(line, received, sizeof received);
    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR)) hang_up();
    received_at = 0;
    received_length = length > 0 ? (size_t)length : 0;
  }
  return received_at < received_length ? received[received_at++] : -1;
}

static void flush(void) {
  if (line < 0 || sending_length == 0) return;
  ssize_t length = write(line, sending, sending_length);
  if (length > 0) {
    sending_length -= (size_t)length;
    memmove(sending, sending + length, sending_length);
  } else if (length < 0 && errno != EAGAIN && errno != EINTR) {
    hang_up();
  }
}

static bool write_byte(void *context, uint8_t byte) {
  (void)context;
  if (sending_length == sizeof sending) flush();
  if (sending_length == sizeof sending) return false;
  sending[sending_length++] = byte;
  return true;
}

static uint32_t now(void *context) {
  struct timespec time;
  (void)context;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint32_t)((uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000);
}

/* What comes from the host is not for the terminal as it is. */
static void show(void *context, uint8_t kind, const char *text, uint8_t length) {
  (void)context;
  if (kind == SKYLINK_SHOW_NOTHING) length = 0;
  for (uint8_t i = 0; i < length; i++) display[i] = text[i] >= ' ' && text[i] != 127 ? text[i] : '?';
  display[length] = 0;
  printf("[%s]\n", display);
}

static uint8_t input[1024], output[1024];
static uint8_t identity[8];
static const skylink_device device = {
    .context = &files,
    .read = read_byte,
    .write = write_byte,
    .now = now,
    .files = &memory_files_table,
    .show = show,
    .input = input,
    .output = output,
    .input_size = sizeof input,
    .output_size = sizeof output,
    .driver_buffer = 4096,
    .capabilities = SKYLINK_CAN_SINCE | SKYLINK_CAN_HASH | SKYLINK_CAN_WRITE | SKYLINK_CAN_DELETE | SKYLINK_CAN_TIME |
                    SKYLINK_CAN_EVENTS | SKYLINK_CAN_SHOW | SKYLINK_HAS_BUTTON | SKYLINK_HAS_BATTERY,
    .model = "Skylink C piano",
    .firmware = "1.0",
    .id = identity,
    .id_length = sizeof identity};

/* Standard MIDI File, format 0, 480 ticks a quarter: a walk over a pentatonic scale, another one each time. */
static void record(void) {
  static const uint8_t scale[] = {0, 2, 4, 7, 9};
  static uint8_t song[4096];
  static unsigned recorded;
  size_t at = 22;
  int step = 10;
  unsigned notes = 16 + random32() % 48;
  memcpy(song, "MThd\0\0\0\6\0\0\0\1\1\340MTrk\0\0\0\0", 22);
  for (unsigned i = 0; i < notes; i++) {
    step += (int)(random32() % 5) - 2;
    if (step < 0) step = 1;
    if (step > 20) step = 19;
    uint8_t key = (uint8_t)(48 + 12 * (step / 5) + scale[step % 5]);
    uint8_t velocity = (uint8_t)(50 + random32() % 60);
    uint32_t length = 120u << random32() % 3;
    const uint8_t note[] = {0,   0x90, key, velocity, (uint8_t)(0x80 | length >> 7), (uint8_t)(length & 127),
                            0x80, key, 64};
    memcpy(song + at, note, sizeof note);
    at += sizeof note;
  }
  memcpy(song + at, "\0\377\57\0", 4);
  at += 4;
  uint32_t track = (uint32_t)(at - 22);
  for (int i = 0; i < 4; i++) song[18 + i] = (uint8_t)(track >> (24 - 8 * i));
  char name[32];
  int length = snprintf(name, sizeof name, "REC%04u.mid", ++recorded);
  skylink_status status =
      memory_files_save(&files, name, (uint8_t)length, song, (uint32_t)at, skylink_time(&link_to_host));
  if (status == SKYLINK_OK) printf("recorded %s\n", name);
  else printf("error %u\n", status);
}

static int digit(char c) {
  const char *digits = "0123456789abcdef";
  const char *found = c ? strchr(digits, c) : NULL;
  return found ? (int)(found - digits) : -1;
}

/* In place. The length, or 0 for what is not hexadecimal. */
static size_t from_hex(char *text) {
  size_t length = 0;
  for (; text && digit(text[2 * length]) >= 0 && digit(text[2 * length + 1]) >= 0; length++) {
    text[length] = (char)(digit(text[2 * length]) << 4 | digit(text[2 * length + 1]));
  }
  return length;
}

static void answer(skylink_status status) {
  if (status == SKYLINK_OK) puts("ok");
  else printf("error %u\n", status);
}

static void command(char *text) {
  char *verb = strtok(text, " ");
  char *first = strtok(NULL, " ");
  char *second = strtok(NULL, " ");
  if (verb == NULL) return;
  if (strcmp(verb, "quit") == 0) exit(0);
  if (strcmp(verb, "record") == 0) {
    record();
  } else if (strcmp(verb, "button") == 0) {
    skylink_button(&link_to_host);
    answer(SKYLINK_OK);
  } else if (strcmp(verb, "battery") == 0 && first) {
    int percent = atoi(first);
    skylink_battery(&link_to_host, (uint8_t)(percent < 0 ? 0 : percent > 100 ? 100 : percent));
    if (percent < LOW_BATTERY) (void)skylink_log(&link_to_host, SKYLINK_WARNING, "battery low");
    answer(SKYLINK_OK);
  } else if (strcmp(verb, "display") == 0) {
    printf("display [%s]\n", display);
  } else {
    size_t length = from_hex(first);
    size_t rest = from_hex(second);
    memory_file *file = length <= 255 && length > 0 ? memory_files_find(&files, first, (uint8_t)length) : NULL;
    if (length > 255 || length == 0) {
      answer(SKYLINK_MALFORMED);
    } else if (strcmp(verb, "save") == 0) {
      answer(memory_files_save(&files, first, (uint8_t)length, (uint8_t *)second, (uint32_t)rest,
                               skylink_time(&link_to_host)));
    } else if (file && strcmp(verb, "rename") == 0 && rest > 0 && rest <= 255) {
      answer(memory_files_rename(&files, file, second, (uint8_t)rest));
    } else if (file && strcmp(verb, "delete") == 0) {
      answer(memory_files_table.remove(&files, file->id));
    } else {
      answer(SKYLINK_NOT_FOUND);
    }
  }
}

static void press(int number) {
  (void)number;
  pressed = 1;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void unblock(int file) { (void)fcntl(file, F_SETFL, fcntl(file, F_GETFL) | O_NONBLOCK); }

static void open_tcp(const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  socklen_t length = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listener = socket(AF_INET, SOCK_STREAM, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1) ||
      getsockname(listener, (struct sockaddr *)&address, &length)) {
    fail("listen");
  }
  unblock(listener);
  printf("tcp://127.0.0.1:%u\n", ntohs(address.sin_port));
}

static void open_terminal(void) {
  struct termios settings;
  line = posix_openpt(O_RDWR | O_NOCTTY);
  if (line < 0 || grantpt(line) || unlockpt(line)) fail("pseudo-terminal");
  /* Held open, so that a host may come and go. */
  int other = open(ptsname(line), O_RDWR | O_NOCTTY);
  if (other < 0 || tcgetattr(other, &settings)) fail("pseudo-terminal");
  settings.c_iflag = settings.c_oflag = settings.c_lflag = 0;
  tcsetattr(other, TCSANOW, &settings);
  unblock(line);
  printf("%s\n", ptsname(line));
}

static void accept_host(void) {
  int host = accept(listener, NULL, NULL);
  if (host < 0) return;
  if (line >= 0) hang_up();
  int now_not_later = 1;
  (void)setsockopt(host, IPPROTO_TCP, TCP_NODELAY, &now_not_later, sizeof now_not_later);
  line = host;
  unblock(line);
}

static void boot(void) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  chance = ((uint32_t)time.tv_nsec ^ (uint32_t)time.tv_sec ^ (uint32_t)getpid() * 2654435761u) | 1;
  for (size_t i = 0; i < sizeof identity; i++) identity[i] = (uint8_t)random32();
  memory_files_begin(&files, arena, sizeof arena);
  uint32_t nonce = random32();
  if (!skylink_begin(&link_to_host, &device, nonce, nonce, files.counter)) exit(1);
  skylink_battery(&link_to_host, 90);
}

int main(int count, char **words) {
  static char text[1 << 17];
  size_t length = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGUSR1, press);
  boot();
  if (count == 3 && strcmp(words[1], "--tcp") == 0) open_tcp(words[2]);
  else open_terminal();
  unblock(0);
  uint32_t told = files.counter;
  for (;;) {
    skylink_poll(&link_to_host);
    flush();
    if (pressed) {
      pressed = 0;
      skylink_button(&link_to_host);
    }
    if (files.counter != told) skylink_files_changed(&link_to_host, told = files.counter);
    bool is_busy = sending_length == 0 && (!skylink_is_idle(&link_to_host) || received_at < received_length);
    struct pollfd waiting[] = {
        {0, POLLIN, 0}, {line, (short)(POLLIN | (sending_length ? POLLOUT : 0)), 0}, {listener, POLLIN, 0}};
    (void)poll(waiting, 3, is_busy ? 0 : 20);
    if (waiting[2].revents) accept_host();
    ssize_t more = read(0, text + length, sizeof text - 1 - length);
    if (more == 0) return 0;
    if (more < 0) continue;
    length += (size_t)more;
    text[length] = 0;
    for (char *end; (end = strchr(text, '\n')) != NULL;) {
      *end = 0;
      command(text);
      length -= (size_t)(end + 1 - text);
      memmove(text, end + 1, length + 1);
    }
    if (length == sizeof text - 1) length = 0;
  }
}
