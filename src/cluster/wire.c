/* Numbers, texts and bytes as they travel. SPDX-License-Identifier: MIT */
#include "cluster/wire.h"

#include <stdlib.h>
#include <string.h>

char *write_room(struct writer *writer, size_t size)
{
    size_t end;
    if (writer->failed || __builtin_add_overflow(writer->size, size, &end)) {
        writer->failed = true;
        return NULL;
    }
    if (end > writer->capacity) {
        size_t capacity = writer->capacity ? writer->capacity : 256;
        while (capacity < end)
            capacity = capacity > SIZE_MAX / 2 ? end : capacity * 2;
        char *larger = realloc(writer->data, capacity);
        if (!larger) {
            writer->failed = true;
            return NULL;
        }
        writer->data = larger;
        writer->capacity = capacity;
    }
    char *room = writer->data + writer->size;
    writer->size = end;
    return room;
}

void writer_expect(struct writer *writer, size_t size)
{
    if (write_room(writer, size))
        writer->size -= size;
}

void write_number(struct writer *writer, uint64_t number, unsigned bytes)
{
    char *room = write_room(writer, bytes);
    for (unsigned i = 0; room && i < bytes; i++)
        room[i] = (char)(number >> 8 * i);
}

void write_raw(struct writer *writer, const void *data, size_t size)
{
    char *room = write_room(writer, size);
    if (room && size > 0)
        memcpy(room, data, size);
}

void write_text(struct writer *writer, const char *text)
{
    size_t length = strlen(text);
    if (length > UINT16_MAX)
        length = UINT16_MAX;
    write_number(writer, length, 2);
    write_raw(writer, text, length);
}

void writer_free(struct writer *writer)
{
    free(writer->data);
    *writer = (struct writer) { 0 };
}

const void *read_raw(struct reader *reader, uint64_t size)
{
    if (reader->failed || size > reader->left) {
        reader->failed = true;
        return NULL;
    }
    const char *data = reader->data;
    reader->data += size;
    reader->left -= size;
    return data;
}

uint64_t read_number(struct reader *reader, unsigned bytes)
{
    const unsigned char *data = read_raw(reader, bytes);
    uint64_t number = 0;
    for (unsigned i = 0; data && i < bytes; i++)
        number |= (uint64_t)data[i] << 8 * i;
    return number;
}

void read_text(struct reader *reader, char *text, size_t size)
{
    size_t length = read_number(reader, 2);
    const char *data = length < size ? read_raw(reader, length) : NULL;
    text[0] = '\0';
    if (!data || memchr(data, '\0', length)) {
        reader->failed = true;
        return;
    }
    memcpy(text, data, length);
    text[length] = '\0';
}

bool reader_is_done(const struct reader *reader)
{
    return !reader->failed && reader->left == 0;
}
