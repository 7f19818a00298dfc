/* Counts lines, words and bytes of many files in parallel, as wc does one after the other. SPDX-License-Identifier: MIT
 *
 *     word_count [-b serial|threads|processes] [-w workers] [file or folder ...]
 *
 * Counts every file that is named, and every regular file below each folder (hidden ones are left out); without
 * arguments, below mproc's own sources. Prints the ten largest and the totals. A file that cannot be read is reported,
 * the others are counted, and the exit status is 1.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mproc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef WORD_COUNT_DEFAULT
#define WORD_COUNT_DEFAULT "." /* CMake names the repository */
#endif

struct file {
    char path[PATH_MAX];
};

struct counts {
    int64_t lines, words, bytes;
};

static int is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void count_block(const unsigned char *block, size_t size, struct counts *counts, int *in_word)
{
    counts->bytes += (int64_t)size;
    for (size_t i = 0; i < size; i++) {
        counts->lines += block[i] == '\n';
        int space = is_space(block[i]);
        counts->words += !space && !*in_word;
        *in_word = !space;
    }
}

static int count_file(const struct file *file, struct counts *counts)
{
    unsigned char block[65536];
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mproc_task_fail(errno, "%s", strerror(errno));
    *counts = (struct counts) { 0 };
    int in_word = 0;
    ssize_t size;
    while ((size = read(fd, block, sizeof block)) > 0)
        count_block(block, (size_t)size, counts, &in_word);
    int err = size < 0 ? errno : 0;
    close(fd);
    return err ? mproc_task_fail(err, "%s", strerror(err)) : 0;
}
MPROC_TASK(count_file);

/* ---- which files */

struct list {
    struct file *files;
    size_t count, capacity;
};

static int complain(const char *path)
{
    fprintf(stderr, "word_count: %s: %s\n", path, strerror(errno));
    return 1;
}

static void add(struct list *list, const char *path)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 256;
        list->files = realloc(list->files, list->capacity * sizeof *list->files);
        if (!list->files) {
            fprintf(stderr, "word_count: no memory left\n");
            exit(2);
        }
    }
    snprintf(list->files[list->count++].path, PATH_MAX, "%s", path);
}

static int find_files(const char *path, struct list *list);

static int find_below(const char *path, struct list *list)
{
    DIR *folder = opendir(path);
    if (!folder)
        return complain(path);
    int unreadable = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char below[PATH_MAX];
        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(below, sizeof below, "%s/%s", path, entry->d_name) < (int)sizeof below)
            unreadable |= find_files(below, list);
    }
    closedir(folder);
    return unreadable;
}

/* Symbolic links below a folder are left alone, so that no file is counted twice. */
static int find_files(const char *path, struct list *list)
{
    struct stat status;
    if (lstat(path, &status) != 0)
        return complain(path);
    if (S_ISREG(status.st_mode))
        add(list, path);
    return S_ISDIR(status.st_mode) ? find_below(path, list) : 0;
}

/* One that was named: a link is followed, and what is neither file nor folder is left to the task to read or refuse. */
static int find_named(const char *path, struct list *list)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return complain(path);
    if (S_ISDIR(status.st_mode))
        return find_below(path, list);
    add(list, path);
    return 0;
}

/* ---- what came out */

static const struct counts *all_counts;

static int larger_first(const void *left, const void *right)
{
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    int64_t x = all_counts[a].bytes, y = all_counts[b].bytes;
    return x != y ? (x < y) - (x > y) : (a > b) - (a < b);
}

static void print_row(const struct counts *counts, const char *name)
{
    printf("%10lld %10lld %12lld  %s\n", (long long)counts->lines, (long long)counts->words, (long long)counts->bytes,
           name);
}

static int print_result(const struct list *list, const struct counts *counts, const struct mproc_outcome *outcomes)
{
    size_t *order = malloc((list->count + 1) * sizeof *order), counted = 0;
    struct counts total = { 0 };
    if (!order)
        return 2;
    for (size_t i = 0; i < list->count; i++) {
        if (outcomes[i].kind != MPROC_OK) {
            char text[160];
            mproc_outcome_text(&outcomes[i], text, sizeof text);
            fprintf(stderr, "word_count: %s: %s\n", list->files[i].path,
                    outcomes[i].kind == MPROC_FAILED ? outcomes[i].message : text);
            continue;
        }
        total.lines += counts[i].lines;
        total.words += counts[i].words;
        total.bytes += counts[i].bytes;
        order[counted++] = i;
    }
    all_counts = counts;
    qsort(order, counted, sizeof *order, larger_first);
    printf("%10s %10s %12s\n", "lines", "words", "bytes");
    for (size_t i = 0; i < counted && i < 10; i++)
        print_row(&counts[order[i]], list->files[order[i]].path);
    char name[64];
    snprintf(name, sizeof name, "total of %zu files", counted);
    print_row(&total, name);
    free(order);
    return counted < list->count;
}

static int count_all(mproc_pool *pool, const struct list *list)
{
    struct counts *counts = calloc(list->count + 1, sizeof *counts);
    struct mproc_outcome *outcomes = calloc(list->count + 1, sizeof *outcomes);
    struct mproc_error error;
    int status = 2;
    int err = counts && outcomes
                  ? mproc_map(pool, count_file, list->files, counts, list->count, .outcomes = outcomes, .error = &error)
                  : -ENOMEM;
    if (err < 0)
        fprintf(stderr, "word_count: %s\n", counts && outcomes ? error.message : mproc_strerror(err));
    else
        status = print_result(list, counts, outcomes);
    free(counts);
    free(outcomes);
    return status;
}

static int usage(void)
{
    fprintf(stderr, "usage: word_count [-b serial|threads|processes] [-w workers] [file or folder ...]\n");
    return 2;
}

int main(int argc, char **argv)
{
    enum mproc_backend backend = MPROC_PROCESSES;
    int workers = 0;
    for (int option; (option = getopt(argc, argv, "b:w:")) != -1;) {
        if (option == 'b' && strcmp(optarg, "serial") == 0)
            backend = MPROC_SERIAL;
        else if (option == 'b' && strcmp(optarg, "threads") == 0)
            backend = MPROC_THREADS;
        else if (option == 'w' && atoi(optarg) > 0)
            workers = atoi(optarg);
        else if (option != 'b' || strcmp(optarg, "processes") != 0)
            return usage();
    }

    struct list list = { 0 };
    int unreadable = optind == argc ? find_named(WORD_COUNT_DEFAULT, &list) : 0;
    for (int i = optind; i < argc; i++)
        unreadable |= find_named(argv[i], &list);

    struct mproc_error error;
    mproc_pool *pool;
    int status = 2;
    if (mproc_pool_open(&pool, .backend = backend, .workers = workers, .error = &error) == 0) {
        status = count_all(pool, &list);
        mproc_pool_close(pool);
    } else {
        fprintf(stderr, "word_count: %s\n", error.message);
    }
    free(list.files);
    return status ? status : unreadable;
}
