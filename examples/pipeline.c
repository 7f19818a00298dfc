/* Copies files with all letters in upper case, in three stages of several processes each. SPDX-License-Identifier: MIT
 *
 *     pipeline [-n processes in each stage] folder file ...
 *
 *     names --> read --> blocks --> transform --> changed --> write
 *
 * Between the stages are queues that hold a few blocks each: a stage that is faster than the next one waits for it, so
 * that files of any size take little memory. Nobody says "this was the last one": a queue whose writers have all ended
 * tells its readers so, and the end runs through the stages by itself, also if one of them crashes.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <mproc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STAGES = 3, PROCESSES_MOST = 64, BLOCK = 65536 };

/* A message: a piece of a file. */
struct block {
    char name[256]; /* of the file to write */
    off_t offset;
    size_t size;
    unsigned char bytes[BLOCK];
};

struct pipeline {
    mproc_queue *names, *blocks, *changed;
    char folder[1024];
};

/* ---- read */

static int read_file(struct pipeline *pipeline, char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
    if (fd < 0)
        return mproc_task_fail(errno, "%s: %s", path, strerror(errno));
    for (off_t offset = 0;;) {
        struct mproc_message message;
        err = mproc_queue_reserve(pipeline->blocks, sizeof(struct block), &message);
        if (err)
            break;
        struct block *block = message.data;
        ssize_t size = read(fd, block->bytes, BLOCK);
        if (size < 0 || (size == 0 && offset > 0)) {
            err = size < 0 ? -errno : 0;
            mproc_queue_cancel(pipeline->blocks, &message);
            break;
        }
        snprintf(block->name, sizeof block->name, "%s", basename(path));
        block->offset = offset;
        block->size = (size_t)size;
        err = mproc_queue_commit(pipeline->blocks, &message, MPROC_FOREVER);
        if (err || size == 0)
            break;
        offset += size;
    }
    close(fd);
    return err ? mproc_task_fail(1, "%s: %s", path, mproc_strerror(err)) : 0;
}

/* Goes on with the next file after one that cannot be read. */
static int read_files(struct pipeline *pipeline)
{
    char path[4096];
    int err, failed = 0;
    while ((err = mproc_queue_get(pipeline->names, path, sizeof path, NULL, MPROC_FOREVER)) == 0)
        if (read_file(pipeline, path) != 0)
            failed = 1;
    return failed ? failed : err != MPROC_E_CLOSED;
}
MPROC_PROCESS(read_files);

/* ---- transform */

static void to_upper_case(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] >= 'a' && bytes[i] <= 'z')
            bytes[i] = (unsigned char)(bytes[i] - 'a' + 'A');
}

/* The block is changed where it lies. Then it is copied to the next queue. */
static int transform(struct pipeline *pipeline)
{
    struct mproc_message message;
    int err;
    while ((err = mproc_queue_borrow(pipeline->blocks, &message, MPROC_FOREVER)) == 0) {
        struct block *block = message.data;
        to_upper_case(block->bytes, block->size);
        err = mproc_queue_put(pipeline->changed, block, offsetof(struct block, bytes) + block->size, MPROC_FOREVER);
        mproc_queue_release(pipeline->blocks, &message);
        if (err)
            return mproc_task_fail(1, "%s", mproc_strerror(err));
    }
    return err != MPROC_E_NO_WRITERS;
}
MPROC_PROCESS(transform);

/* ---- write */

/* Pieces of one file come to several processes, in any order. */
static int write_block(const struct pipeline *pipeline, const struct block *block)
{
    char path[sizeof pipeline->folder + sizeof block->name + 1];
    snprintf(path, sizeof path, "%s/%s", pipeline->folder, block->name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return mproc_task_fail(errno, "%s: %s", path, strerror(errno));
    ssize_t written = pwrite(fd, block->bytes, block->size, block->offset);
    int err = written < 0 ? errno : written != (ssize_t)block->size ? ENOSPC : 0;
    if (close(fd) != 0 && !err)
        err = errno;
    return err ? mproc_task_fail(err, "%s: %s", path, strerror(err)) : 0;
}

static int write_blocks(struct pipeline *pipeline)
{
    struct mproc_message message;
    int err, failed = 0;
    while (!failed && (err = mproc_queue_borrow(pipeline->changed, &message, MPROC_FOREVER)) == 0) {
        failed = write_block(pipeline, message.data);
        mproc_queue_release(pipeline->changed, &message);
    }
    return failed ? failed : err != MPROC_E_NO_WRITERS;
}
MPROC_PROCESS(write_blocks);

/* ---- all together */

static int fail(const char *what, int err)
{
    fprintf(stderr, "pipeline: %s: %s\n", what, mproc_strerror(err));
    return 1;
}

static int make_queues(struct pipeline *pipeline)
{
    int err = mproc_queue_create(&pipeline->names, .messages = 1000);
    if (!err)
        err = mproc_queue_create(&pipeline->blocks, .messages = 8);
    return err ? err : mproc_queue_create(&pipeline->changed, .messages = 8);
}

/* This process writes names, and only hands the rest on: it is not one that others could wait for. */
static int start_stages(struct pipeline *pipeline, mproc_process *processes[STAGES][PROCESSES_MOST], int count)
{
    int err = 0;
    for (int i = 0; i < count && !err; i++) {
        err = mproc_process_start(&processes[0][i], read_files, pipeline, .reads_from = &pipeline->names,
                                  .reads_from_count = 1, .writes_to = &pipeline->blocks, .writes_to_count = 1);
        if (!err)
            err = mproc_process_start(&processes[1][i], transform, pipeline, .reads_from = &pipeline->blocks,
                                      .reads_from_count = 1, .writes_to = &pipeline->changed, .writes_to_count = 1);
        if (!err)
            err = mproc_process_start(&processes[2][i], write_blocks, pipeline, .reads_from = &pipeline->changed,
                                      .reads_from_count = 1);
    }
    mproc_queue_detach(pipeline->names, MPROC_QUEUE_READER);
    mproc_queue_detach(pipeline->blocks, MPROC_QUEUE_WRITER_AND_READER);
    mproc_queue_detach(pipeline->changed, MPROC_QUEUE_WRITER_AND_READER);
    return err;
}

/* Returns how many ended otherwise than well. */
static int join_stages(mproc_process *processes[STAGES][PROCESSES_MOST], int count)
{
    int failures = 0;
    for (int i = 0; i < STAGES * count; i++) {
        mproc_process *process = processes[i / count][i % count];
        struct mproc_outcome outcome;
        char text[200];
        mproc_process_join(process, MPROC_FOREVER);
        if (mproc_process_outcome(process, &outcome) != 0 || outcome.kind != MPROC_OK) {
            mproc_outcome_text(&outcome, text, sizeof text);
            fprintf(stderr, "pipeline: %s: %s\n", mproc_process_name(process), text);
            failures++;
        }
        mproc_process_close(process);
    }
    return failures;
}

int main(int argc, char **argv)
{
    static mproc_process *processes[STAGES][PROCESSES_MOST];
    int count = 2, option;
    while ((option = getopt(argc, argv, "n:")) == 'n')
        count = atoi(optarg);
    if (option != -1 || argc - optind < 2 || count < 1 || count > PROCESSES_MOST) {
        fprintf(stderr, "usage: pipeline [-n processes in each stage] folder file ...\n");
        return 2;
    }
    struct pipeline *pipeline = mproc_calloc(1, sizeof *pipeline);
    int err = pipeline ? make_queues(pipeline) : -ENOMEM;
    if (err)
        return fail("cannot make queues", err);
    snprintf(pipeline->folder, sizeof pipeline->folder, "%s", argv[optind++]);
    err = start_stages(pipeline, processes, count);
    if (err)
        return fail("cannot start a process", err); /* those that were started end with this one */

    int files = argc - optind;
    for (int i = optind; i < argc && !err; i++)
        err = mproc_queue_put(pipeline->names, argv[i], strlen(argv[i]) + 1, MPROC_FOREVER);
    mproc_queue_close(pipeline->names);

    int failures = join_stages(processes, count) + (err != 0);
    printf("%d files, %d processes, %d failed\n", files, STAGES * count, failures);
    mproc_queue_free(pipeline->names);
    mproc_queue_free(pipeline->blocks);
    mproc_queue_free(pipeline->changed);
    mproc_free(pipeline);
    return failures > 0;
}
