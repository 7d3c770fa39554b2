/* See memory-files.h. SPDX-License-Identifier: Apache-2.0 */
#include "memory-files.h"

#include <string.h>

void memory_files_begin(memory_files *table, uint8_t *arena, uint32_t capacity) {
  memset(table, 0, sizeof *table);
  table->arena = arena;
  table->capacity = capacity;
  table->next_id = 1;
}

static bool is_there(const memory_file *file) { return file->used && file->visible; }

memory_file *memory_files_find(memory_files *table, const char *name, uint8_t length) {
  for (int i = 0; i < MEMORY_FILES_MOST; i++) {
    memory_file *file = &table->files[i];
    if (is_there(file) && file->name_length == length && memcmp(file->name, name, length) == 0) return file;
  }
  return NULL;
}

/* Gives the file's bytes back: what lies behind them moves up. */
static void free_file(memory_files *table, memory_file *file) {
  uint32_t end = file->begin + file->size;
  memmove(table->arena + file->begin, table->arena + end, table->occupied - end);
  table->occupied -= file->size;
  for (int i = 0; i < MEMORY_FILES_MOST; i++) {
    if (table->files[i].used && table->files[i].begin >= end) table->files[i].begin -= file->size;
  }
  file->used = false;
}

static memory_file *by_id(memory_files *table, uint32_t id) {
  for (int i = 0; i < MEMORY_FILES_MOST; i++) {
    if (is_there(&table->files[i]) && table->files[i].id == id) return &table->files[i];
  }
  return NULL;
}

static void describe(const memory_file *file, skylink_file *out) {
  out->id = file->id;
  out->generation = file->generation;
  out->size = file->size;
  out->mtime = file->mtime;
  out->name = file->name;
  out->name_length = file->name_length;
  out->flags = 0;
}

static uint32_t count(void *context) {
  memory_files *table = context;
  uint32_t files = 0;
  for (int i = 0; i < MEMORY_FILES_MOST; i++) files += is_there(&table->files[i]);
  return files;
}

/* The order is that of the IDs, and the cursor the ID before which to go on. */
static skylink_status next(void *context, uint32_t since, uint32_t *cursor, skylink_file *out) {
  memory_files *table = context;
  const memory_file *first = NULL;
  for (int i = 0; i < MEMORY_FILES_MOST; i++) {
    const memory_file *file = &table->files[i];
    if (!is_there(file) || file->id < *cursor || file->changed <= since) continue;
    if (first == NULL || file->id < first->id) first = file;
  }
  if (first == NULL) return SKYLINK_NOT_FOUND;
  describe(first, out);
  *cursor = first->id + 1;
  return SKYLINK_OK;
}

static skylink_status stat_file(void *context, uint32_t id, skylink_file *out) {
  const memory_file *file = by_id(context, id);
  if (file == NULL) return SKYLINK_NOT_FOUND;
  describe(file, out);
  return SKYLINK_OK;
}

static skylink_status read_file(void *context, uint32_t id, uint32_t offset, uint8_t *bytes, uint16_t length) {
  memory_files *table = context;
  const memory_file *file = by_id(table, id);
  if (file == NULL) return SKYLINK_NOT_FOUND;
  memcpy(bytes, table->arena + file->begin + offset, length);
  return SKYLINK_OK;
}

static skylink_status remove_file(void *context, uint32_t id) {
  memory_files *table = context;
  memory_file *file = by_id(table, id);
  if (file == NULL) return SKYLINK_NOT_FOUND;
  free_file(table, file);
  table->counter++;
  return SKYLINK_OK;
}

static skylink_status write_begin(void *context, const skylink_incoming *incoming) {
  memory_files *table = context;
  if (incoming->name_length > MEMORY_FILES_LONGEST_NAME) return SKYLINK_REFUSED;
  if (!incoming->replace && memory_files_find(table, incoming->name, incoming->name_length)) return SKYLINK_EXISTS;
  if (incoming->size > table->capacity - table->occupied) return SKYLINK_FULL;
  for (int i = 0; i < MEMORY_FILES_MOST; i++) {
    memory_file *file = &table->files[i];
    if (file->used) continue;
    memset(file, 0, sizeof *file);
    file->used = true;
    file->begin = table->occupied;
    file->mtime = incoming->mtime;
    memcpy(file->name, incoming->name, incoming->name_length);
    file->name_length = incoming->name_length;
    table->incoming = file;
    return SKYLINK_OK;
  }
  return SKYLINK_FULL;
}

/* It is always the last one in the arena: nothing else is added while it comes. */
static skylink_status write_data(void *context, const uint8_t *bytes, uint16_t length) {
  memory_files *table = context;
  if (length > table->capacity - table->occupied) return SKYLINK_FULL;
  memcpy(table->arena + table->occupied, bytes, length);
  table->occupied += length;
  table->incoming->size += length;
  return SKYLINK_OK;
}

static skylink_status write_commit(void *context, uint32_t *id, uint32_t *generation) {
  memory_files *table = context;
  memory_file *file = table->incoming;
  memory_file *before = memory_files_find(table, file->name, file->name_length);
  table->incoming = NULL;
  file->id = before ? before->id : table->next_id++;
  if (before) free_file(table, before);
  file->generation = file->changed = ++table->counter;
  file->visible = true;
  *id = file->id;
  *generation = file->generation;
  return SKYLINK_OK;
}

static void write_abort(void *context) {
  memory_files *table = context;
  if (table->incoming) free_file(table, table->incoming);
  table->incoming = NULL;
}

skylink_status memory_files_save(memory_files *table, const char *name, uint8_t name_length, const uint8_t *bytes,
                                 uint32_t size, uint32_t mtime) {
  skylink_incoming incoming = {size, mtime, name, name_length, true};
  uint32_t id, generation;
  if (table->incoming) return SKYLINK_BUSY;
  skylink_status status = write_begin(table, &incoming);
  if (status != SKYLINK_OK) return status;
  while (size > 0) {
    uint16_t piece = size > 4096 ? 4096 : (uint16_t)size;
    (void)write_data(table, bytes, piece);
    bytes += piece;
    size -= piece;
  }
  return write_commit(table, &id, &generation);
}

skylink_status memory_files_rename(memory_files *table, memory_file *file, const char *name, uint8_t length) {
  if (length > MEMORY_FILES_LONGEST_NAME) return SKYLINK_REFUSED;
  memcpy(file->name, name, length);
  file->name_length = length;
  file->changed = ++table->counter;
  return SKYLINK_OK;
}

const skylink_files memory_files_table = {count,       next,       stat_file,    read_file,  remove_file,
                                          write_begin, write_data, write_commit, write_abort};
