/* Arbitrary bytes in arbitrary pieces come over a connection, and are received by arbitrary calls. A model that decodes
 * the bytes by itself says what each call has to answer. SPDX-License-Identifier: MIT
 *
 * An input: how many bytes say what to do (they are used again and again), those bytes, and then what comes over the
 * stream. The first of them says which kind of stream it is, and how much goes on after the input.
 */
#include "expect.h"
#include "os/sanitizer.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <mproc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#if OS_ADDRESS_SANITIZER
#include <sanitizer/allocator_interface.h>
#endif

enum { LARGE = 8192 }; /* from here on pieces are large, too, so that one input does not take long */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what is to happen */

struct script {
    const uint8_t *bytes;
    size_t size, at;
};

static unsigned next_byte(struct script *script)
{
    return script->size == 0 ? 0 : script->bytes[script->at++ % script->size];
}

/* Small ones, large ones, and those between. */
static size_t next_size(struct script *script)
{
    unsigned first = next_byte(script);
    if (first < 128)
        return first % 16;
    return first < 224 ? next_byte(script) * (size_t)8 : next_byte(script) * (size_t)1024;
}

/* ---- the model */

struct model {
    const uint8_t *stream;
    size_t arrived, at; /* the message that is received next begins at `at` */
    size_t limit, header_size;
    uint64_t length;
    bool has_length, closed;
    int over;
};

static uint64_t number_at(const uint8_t *bytes, unsigned count)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < count; i++)
        number = number * 256 + bytes[i];
    return number;
}

/* What has not come. */
static int missing(struct model *model)
{
    if (!model->closed)
        return -ETIMEDOUT;
    return model->over = model->arrived == model->at ? MPROC_E_END_OF_STREAM : MPROC_E_STREAM_BROKEN;
}

static int decode_header(struct model *model)
{
    const uint8_t *header = model->stream + model->at;
    size_t there = model->arrived - model->at;
    if (there < 4)
        return missing(model);
    bool is_long = number_at(header, 4) == 0xffffffff;
    if (is_long && there < 12)
        return missing(model);
    model->header_size = is_long ? 12 : 4;
    model->length = is_long ? number_at(header + 4, 8) : number_at(header, 4);
    model->has_length = true;
    bool sensible = is_long ? model->length < (uint64_t)1 << 63 : model->length < (uint64_t)1 << 31;
    return sensible && model->length <= model->limit ? 0 : (model->over = -EOVERFLOW);
}

/* What a call has to answer that has room for so many bytes. */
static int expect_message(struct model *model, size_t capacity)
{
    if (model->over)
        return model->over;
    int err = model->has_length ? 0 : decode_header(model);
    if (err)
        return err;
    if (model->length > capacity)
        return -EMSGSIZE;
    return model->arrived - model->at - model->header_size < model->length ? missing(model) : 0;
}

static void check_message(struct model *model, const void *data, size_t size)
{
    EXPECT(data || size == 0);
    EXPECT(size == model->length);
    EXPECT(size == 0 || memcmp(data, model->stream + model->at + model->header_size, size) == 0);
    model->at += model->header_size + size;
    model->has_length = false;
}

/* ---- the calls */

static void receive(mproc_connection *connection, struct model *model, size_t capacity)
{
    char *buffer = malloc(capacity);
    size_t size = 4711;
    int expected = expect_message(model, capacity);
    EXPECT(mproc_connection_receive(connection, buffer, capacity, &size, 0) == expected);
    if (expected == 0)
        check_message(model, buffer, size);
    else
        EXPECT(size == (expected == -EMSGSIZE ? model->length : 4711));
    free(buffer);
}

static void receive_borrowed(mproc_connection *connection, struct model *model)
{
    const void *data = NULL;
    size_t size = 0;
    int expected = expect_message(model, SIZE_MAX);
    EXPECT(mproc_connection_receive_borrowed(connection, &data, &size, 0) == expected);
    EXPECT((data != NULL) == (expected == 0));
    if (data)
        check_message(model, data, size);
}

static void receive_new(mproc_connection *connection, struct model *model)
{
    void *data = NULL;
    size_t size = 0;
    int expected = expect_message(model, SIZE_MAX);
    EXPECT(mproc_connection_receive_new(connection, &data, &size, 0) == expected);
    EXPECT((data != NULL) == (expected == 0));
    if (data)
        check_message(model, data, size);
    free(data);
}

static void poll_it(mproc_connection *connection, const struct model *model)
{
    bool something = model->over || model->closed || model->arrived > model->at;
    EXPECT(mproc_connection_poll(connection, 0) == (something ? 0 : -ETIMEDOUT));
}

static void call_something(mproc_connection *connection, struct model *model, struct script *script)
{
    switch (next_byte(script) % 8) {
    case 0:
    case 1: receive(connection, model, next_size(script)); break;
    case 2: receive(connection, model, 100000); break;
    case 3:
    case 4: receive_borrowed(connection, model); break;
    case 5: receive_new(connection, model); break;
    case 6: poll_it(connection, model); break;
    default:
        model->limit = next_byte(script) % 2 ? SIZE_MAX : next_size(script);
        EXPECT(mproc_connection_set_limit(connection, model->limit) == 0);
    }
}

/* ---- memory */

static size_t allocated(void)
{
#if OS_ADDRESS_SANITIZER
    return __sanitizer_get_current_allocated_bytes();
#elif defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

/* Twice of what has come, and what is taken to begin with. */
static void check_memory(const struct model *model, size_t before)
{
    EXPECT(allocated() <= before + 2 * model->arrived + 65536 + 16384);
}

/* ---- one input */

/* Returns false if there is no room. */
static bool write_piece(int fd, struct model *model, size_t size)
{
    ssize_t written = write(fd, model->stream + model->arrived, size);
    EXPECT(written > 0 || errno == EAGAIN);
    if (written > 0)
        model->arrived += (size_t)written;
    return written > 0;
}

static void run(mproc_connection *connection, int fd, struct model *model, size_t size, struct script *script)
{
    size_t before = allocated();
    while (model->arrived < size && !model->over) {
        size_t piece = 1 + next_size(script) + (model->arrived > LARGE ? LARGE : 0);
        if (piece > size - model->arrived)
            piece = size - model->arrived;
        if (!write_piece(fd, model, piece))
            receive_new(connection, model);
        for (unsigned calls = next_byte(script) % 4; calls > 0; calls--)
            call_something(connection, model, script);
        check_memory(model, before);
    }
    close(fd);
    model->closed = true;
    for (int i = 0; i < 10; i++)
        call_something(connection, model, script);
    while (!model->over)
        receive_new(connection, model);
    for (int i = 0; i < 5; i++)
        call_something(connection, model, script);
    check_memory(model, before);
}

static int open_stream(bool is_pipe, mproc_connection **connection)
{
    int fds[2];
    if (is_pipe)
        EXPECT(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    else
        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    EXPECT(mproc_connection_open(connection, fds[0]) == 0);
    return fds[1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size < 1 + (size_t)data[0])
        return -1;
    struct script script = { .bytes = data + 1, .size = data[0] };
    size_t head = 1 + script.size, given = size - head;
    unsigned kind = next_byte(&script);
    size_t whole = given + (kind & 2 ? (size_t)(kind >> 2) * 5000 : 0);
    uint8_t *stream = malloc(whole + 1);
    memcpy(stream, data + head, given);
    for (size_t i = given; i < whole; i++)
        stream[i] = (uint8_t)(i * 2654435761U >> 13);
    struct model model = { .stream = stream, .limit = SIZE_MAX };
    mproc_connection *connection = NULL;
    int fd = open_stream(kind & 1, &connection);
    run(connection, fd, &model, whole, &script);
    EXPECT(mproc_connection_close(connection) == 0);
    free(stream);
    return 0;
}
