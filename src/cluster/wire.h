/* Numbers, texts and bytes as they travel. SPDX-License-Identifier: MIT
 *
 * Little endian, one behind the other, without padding. A writer that runs out of memory and a reader that runs out of
 * bytes remember that, and do nothing any more: whoever is done asks once. What comes over the wire may be anything.
 */
#ifndef CLUSTER_WIRE_H
#define CLUSTER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct writer {
    char *data; /* malloc's */
    size_t size, capacity;
    bool failed;
};

void write_number(struct writer *writer, uint64_t number, unsigned bytes);
void write_raw(struct writer *writer, const void *data, size_t size);
void write_text(struct writer *writer, const char *text);

/* Room for that many bytes, to be filled before the next call; NULL if there is no memory. */
char *write_room(struct writer *writer, size_t size);

/* That about so many bytes will be written, which saves their being copied as the memory grows. */
void writer_expect(struct writer *writer, size_t size);

void writer_free(struct writer *writer);

struct reader {
    const char *data;
    size_t left;
    bool failed;
};

/* 0 and NULL once it has failed. */
uint64_t read_number(struct reader *reader, unsigned bytes);
const void *read_raw(struct reader *reader, uint64_t size);

/* Fills a buffer of that size. A text that is longer, or not one, fails. */
void read_text(struct reader *reader, char *text, size_t size);

/* True if all was read, and all was there. */
bool reader_is_done(const struct reader *reader);

#endif
