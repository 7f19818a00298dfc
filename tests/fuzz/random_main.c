/* Runs a fuzz target without libFuzzer: over the files of a folder, and then over random inputs for MPROC_FUZZ_SECONDS.
 * SPDX-License-Identifier: MIT
 *
 * PROGRAM FOLDER [SEED]
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 20000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t input[MOST];

static int run_files(const char *folder)
{
    int count = 0;
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!file)
            continue;
        LLVMFuzzerTestOneInput(input, fread(input, 1, MOST, file));
        fclose(file);
        count++;
    }
    if (directory)
        closedir(directory);
    return count;
}

static unsigned below(unsigned *seed, unsigned end)
{
    return (unsigned)rand_r(seed) % end;
}

/* A message, of which sometimes a byte is wrong. Returns its size. */
static size_t put_message(uint8_t *to, size_t room, unsigned *seed)
{
    size_t size = below(seed, 4) ? below(seed, 40) : below(seed, 3000);
    bool is_long = below(seed, 4) == 0;
    size_t header = is_long ? 12 : 4;
    if (room < header + size)
        return 0;
    memset(to, is_long ? 0xff : 0, 4);
    memset(to + 4, 0, header - 4);
    to[header - 1] = (uint8_t)size;
    to[header - 2] = (uint8_t)(size >> 8);
    for (size_t i = 0; i < size; i++)
        to[header + i] = (uint8_t)rand_r(seed);
    if (below(seed, 12) == 0)
        to[below(seed, (unsigned)header)] = (uint8_t)rand_r(seed);
    return header + size;
}

static size_t make_input(unsigned *seed)
{
    size_t size = 1 + (input[0] = (uint8_t)below(seed, 100));
    for (size_t i = 1; i < size; i++)
        input[i] = (uint8_t)rand_r(seed);
    for (unsigned messages = below(seed, 10); messages > 0; messages--)
        size += put_message(input + size, MOST - size, seed);
    return size - (below(seed, 3) == 0 ? below(seed, (unsigned)(size - input[0])) : 0);
}

int main(int argc, char **argv)
{
    const char *text = getenv("MPROC_FUZZ_SECONDS");
    time_t end = time(NULL) + (text ? atoi(text) : 3);
    unsigned seed = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    long inputs = 0;
    int files = argc > 1 ? run_files(argv[1]) : 0;
    while (inputs < 100 || time(NULL) < end) {
        LLVMFuzzerTestOneInput(input, make_input(&seed));
        inputs++;
    }
    printf("%d files and %ld random inputs\n", files, inputs);
    return argc > 1 && files == 0;
}
