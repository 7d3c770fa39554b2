/** Writes the test vectors that all implementations share as C: vectors.mjs VECTORS.json > vectors.h */

import { readFileSync } from 'node:fs';

const { crc32c, frames, refused, streams } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const bytes = (hex) => `(const uint8_t *)"${hex.replace(/../g, '\\x$&')}", ${hex.length / 2}`;
const table = (type, name, rows) => `static const ${type} ${name}[] = {\n${rows.join('\n')}\n};\n`;

console.log(`/* Made from test/vectors/skylink.json. */
typedef struct { const uint8_t *bytes; uint16_t length; uint32_t value; } vector;
typedef struct { const uint8_t *body; uint16_t body_length; const uint8_t *line; uint16_t length; uint8_t type, seq; } frame_vector;
${table(
  'vector',
  'crc_vectors',
  crc32c.map((one) => `{${bytes(one.bytes)}, ${one.crc}u},`),
)}
${table(
  'frame_vector',
  'frame_vectors',
  frames.map((one) => `{${bytes(one.body)}, ${bytes(one.frame)}, ${one.type}, ${one.seq}},`),
)}
${table(
  'vector',
  'refused_vectors',
  refused.map((one) => `{${bytes(one.line)}, 0},`),
)}
${table(
  'vector',
  'stream_vectors',
  streams.map((one) => `{${bytes(one.line)}, ${one.frames}},`),
)}`);
