/* Files in RAM, for examples and tests: a fixed number in one arena, kept without holes. SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_FILES_H
#define MEMORY_FILES_H

#include <stddef.h>

#include "skylink.h"

#ifndef MEMORY_FILES_MOST
#define MEMORY_FILES_MOST 16
#endif
#ifndef MEMORY_FILES_LONGEST_NAME
#define MEMORY_FILES_LONGEST_NAME 64
#endif

typedef struct {
  uint32_t id, generation, changed, mtime;
  uint32_t begin, size;
  char name[MEMORY_FILES_LONGEST_NAME];
  uint8_t name_length;
  bool used, visible;
} memory_file;

typedef struct {
  uint8_t *arena;
  uint32_t capacity, occupied;
  uint32_t counter, next_id;
  memory_file files[MEMORY_FILES_MOST];
  memory_file *incoming;
  uint32_t incoming_size;
} memory_files;

/* `context` of these functions is a memory_files. */
extern const skylink_files memory_files_table;

void memory_files_begin(memory_files *table, uint8_t *arena, uint32_t capacity);
memory_file *memory_files_find(memory_files *table, const char *name, uint8_t length);
/* Writes a whole file, a new one or new content for one of that name. Grows the change counter. */
skylink_status memory_files_save(memory_files *table, const char *name, uint8_t name_length, const uint8_t *bytes,
                                 uint32_t size, uint32_t mtime);
skylink_status memory_files_rename(memory_files *table, memory_file *file, const char *name, uint8_t length);

#endif
