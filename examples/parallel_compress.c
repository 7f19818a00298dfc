/* Compresses a file of any size on all CPUs, in little memory, for gunzip to read. SPDX-License-Identifier: MIT
 *
 *     parallel_compress [file] > file.gz
 *
 * Each block of the file becomes a gzip file of its own, by zlib. One behind the other they are a gzip file, too: that
 * is how gzip is defined. Blocks are read only as workers have room for them, and written in order.
 */
#include <errno.h>
#include <mproc.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { BLOCK = 256 << 10, GZIP = 16 /* added to zlib's window bits: with gzip's header and checksum */ };

static int compress_block(const struct mproc_bytes *block, struct mproc_bytes *member)
{
    z_stream stream = { .next_in = block->data, .avail_in = (uInt)block->size };
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return mproc_task_fail(ENOMEM, "zlib has no memory");
    uLong most = deflateBound(&stream, block->size);
    stream.next_out = mproc_bytes_allocate(member, most);
    stream.avail_out = (uInt)most;
    int is_whole = stream.next_out && deflate(&stream, Z_FINISH) == Z_STREAM_END;
    deflateEnd(&stream);
    if (!is_whole)
        return mproc_task_fail(ENOMEM, "no memory for %lu bytes", most);
    member->size = stream.total_out;
    return 0;
}
MPROC_TASK(compress_block);

struct source {
    FILE *file;
    size_t blocks;
    char room[BLOCK];
};

/* Called when a worker has room for one more block. */
static int read_block(void *context, void *item)
{
    struct source *source = context;
    struct mproc_bytes *block = item;
    size_t size = fread(source->room, 1, BLOCK, source->file);
    if (ferror(source->file))
        return -errno;
    if (size == 0 && source->blocks > 0)
        return 0; /* but an empty file, too, has one block */
    *block = (struct mproc_bytes) { source->room, size };
    source->blocks++;
    return 1;
}

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "parallel_compress: %s: %s\n", what, why);
    return 1;
}

static int write_member(const struct mproc_outcome *outcome, const struct mproc_bytes *member)
{
    char text[200];
    mproc_outcome_text(outcome, text, sizeof text);
    if (outcome->kind != MPROC_OK)
        return complain("a block", text);
    if (fwrite(member->data, 1, member->size, stdout) != member->size)
        return complain("standard output", strerror(errno));
    return 0;
}

int main(int argc, char **argv)
{
    static struct source source;
    const char *name = argc > 1 ? argv[1] : "standard input";
    if (argc > 2)
        return complain("usage", "parallel_compress [file] > file.gz");
    source.file = argc > 1 ? fopen(name, "rb") : stdin;
    if (!source.file)
        return complain(name, strerror(errno));

    struct mproc_bytes block, member = { 0 };
    struct mproc_imap_item item;
    mproc_imap *members = NULL;
    int status = 0;
    /* Should a worker be killed, another one compresses its block. */
    int result = mproc_imap(&members, NULL, compress_block, &block, &member, MPROC_UNTIL_END, .next = read_block,
                            .next_context = &source, .retries = 3);
    while (result >= 0 && status == 0 && (result = mproc_imap_next(members, &item, MPROC_FOREVER)) > 0) {
        status = write_member(&item.outcome, &member);
        mproc_bytes_free(&member);
    }
    mproc_imap_free(members);
    if (result < 0)
        status = complain(name, mproc_strerror(result));
    if (fflush(stdout) != 0)
        status = complain("standard output", strerror(errno));
    return status;
}
