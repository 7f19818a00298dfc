/* Draws what a pool's .trace recorded. SPDX-License-Identifier: MIT
 *
 *     mproc-timeline run.json > run.svg
 */
#include "timeline.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <mproc/version.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WIDTH_DEFAULT = 1200, WIDTH_LEAST = 400, WIDTH_MOST = 20000 };
enum { FAILURE = 1, WRONG_USE = 2 };

struct options {
    const char *input, *output;
    int width;
};

static const char usage[] = "usage: mproc-timeline [--width PIXELS] [-o FILE] TRACE\n"
                            "\n"
                            "Draws a trace of mproc (the .trace of a pool), or another one in the Trace Event\n"
                            "format, as SVG: one row a worker, its items as rectangles, failures marked.\n"
                            "TRACE is a file, or - for standard input.\n"
                            "\n"
                            "  -o, --output FILE   write to FILE, not to standard output\n"
                            "      --width PIXELS  width of the picture, 400 to 20000; default 1200\n"
                            "      --help          say this\n"
                            "      --version       say which version this is\n";

static _Noreturn void refuse(const char *what, const char *argument)
{
    fprintf(stderr, "mproc-timeline: %s%s\nTry mproc-timeline --help.\n", what, argument);
    exit(WRONG_USE);
}

static int read_width(const char *text)
{
    char *end;
    long width = strtol(text, &end, 10);
    if (end == text || *end || width < WIDTH_LEAST || width > WIDTH_MOST)
        refuse("the width has to be a number from 400 to 20000, not ", text);
    return (int)width;
}

static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = { { "output", required_argument, NULL, 'o' },
                                           { "width", required_argument, NULL, 'w' },
                                           { "help", no_argument, NULL, 'h' },
                                           { "version", no_argument, NULL, 'v' },
                                           { 0 } };
    struct options options = { .width = WIDTH_DEFAULT };
    for (int option; (option = getopt_long(argc, argv, "o:", known, NULL)) != -1;) {
        if (option == 'o')
            options.output = optarg;
        else if (option == 'w')
            options.width = read_width(optarg);
        else if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        } else if (option == 'v') {
            printf("mproc-timeline %d.%d.%d\n", MPROC_VERSION_MAJOR, MPROC_VERSION_MINOR, MPROC_VERSION_PATCH);
            exit(0);
        } else
            refuse("this is not how it is used", "");
    }
    if (optind + 1 != argc)
        refuse(optind == argc ? "no trace is named" : "more than one trace is named: ",
               optind == argc ? "" : argv[argc - 1]);
    options.input = argv[optind];
    return options;
}

static bool complain(const char *name, const char *what)
{
    fprintf(stderr, "mproc-timeline: %s: %s\n", name, what);
    return false;
}

static bool read_all(int fd, char **text, size_t *size)
{
    size_t room = 0;
    for (*size = 0;;) {
        if (*size == room) {
            room = room > 0 ? 2 * room : 1 << 20;
            *text = allocate(*text, room, 1);
        }
        ssize_t count = read(fd, *text + *size, room - *size);
        if (count == 0 || (count < 0 && errno != EINTR))
            return count == 0;
        *size += count > 0 ? (size_t)count : 0;
    }
}

static bool read_trace(struct timeline *timeline, const char *path)
{
    bool is_standard = strcmp(path, "-") == 0;
    const char *name = is_standard ? "standard input" : path;
    struct problem problem = { 0 };
    char *text = NULL;
    size_t size;
    int fd = is_standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 && read_all(fd, &text, &size);
    if (!is_read)
        complain(name, strerror(errno));
    if (fd >= 0 && !is_standard)
        close(fd);
    if (is_read && !timeline_read(timeline, text, size, &problem)) {
        is_read = false;
        if (problem.line > 0)
            fprintf(stderr, "mproc-timeline: %s:%zu: %s\n", name, problem.line, problem.text);
        else
            complain(name, problem.text);
    }
    free(text);
    return is_read;
}

static bool write_picture(const struct timeline *timeline, const struct options *options)
{
    const char *name = options->output ? options->output : "standard output";
    FILE *out = options->output ? fopen(options->output, "we") : stdout;
    if (!out)
        return complain(name, strerror(errno));
    errno = 0;
    timeline_draw(timeline, out, options->width);
    bool has_failed = ferror(out);
    if (fclose(out) != 0 || has_failed)
        return complain(name, errno ? strerror(errno) : "it could not be written");
    return true;
}

int main(int argc, char **argv)
{
    struct options options = read_options(argc, argv);
    struct timeline timeline = { 0 };
    bool is_done = read_trace(&timeline, options.input) && write_picture(&timeline, &options);
    timeline_free(&timeline);
    return is_done ? 0 : FAILURE;
}
