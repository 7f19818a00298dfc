/* Renders a piece of the Mandelbrot set, tile by tile, on this machine or on many. SPDX-License-Identifier: MIT
 *
 *     cluster_render [--cluster URL] [--size 1280x800] [--at RE,IM,WIDTH] out.png
 *
 * Without --cluster the tiles are rendered by processes of this machine; with it, by all machines on which an agent of
 * this program serves that URL, started there with
 *
 *     cluster_render --mproc-agent URL
 *
 * The picture is the same, byte for byte. A machine that is lost on the way costs time, and no tile: .retries.
 *
 * libpng writes the picture: the reference for the format, in every distribution.
 */
#include <getopt.h>
#include <math.h>
#include <mproc.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TILE = 64, SAMPLES = 3 /* a pixel is the mean of so many squared */, TURNS_MOST = 5000, MACHINES = 64 };

struct view {
    int width, height;            /* pixels */
    double re, im, picture_width; /* the picture's centre, and how wide it is */
};

/* All that a machine has to know: it sees nothing of this one's memory. */
struct tile {
    struct view view;
    int x, y;
};

struct pixels {
    unsigned char rgb[TILE][TILE][3];
};

/* ---- one tile, in a worker, wherever that is */

struct color {
    double r, g, b;
};

/* How many turns the point takes to leave, as a smooth number; -1 if it stays. */
static double turns(double re, double im)
{
    double x = 0, y = 0, xx = 0, yy = 0;
    for (int turn = 0; turn < TURNS_MOST; turn++) {
        y = 2 * x * y + im;
        x = xx - yy + re;
        xx = x * x;
        yy = y * y;
        if (xx + yy > 1 << 16)
            return turn + 1 - log2(log2(xx + yy) / 2);
    }
    return -1;
}

/* A wheel of colours: night, blue, white, gold, embers. */
static struct color paint(double number)
{
    static const struct color wheel[] = {
        { 0.00, 0.01, 0.05 }, { 0.02, 0.14, 0.45 }, { 0.80, 0.92, 1.00 }, { 1.00, 0.55, 0.05 }, { 0.18, 0.02, 0.04 }
    };
    enum { COLORS = sizeof wheel / sizeof wheel[0] };
    if (number < 0)
        return wheel[0];
    double place = fmod(log2(number + 1) * 2.5 + 4.1, COLORS), part = place - floor(place);
    const struct color *from = &wheel[(int)place], *to = &wheel[((int)place + 1) % COLORS];
    part = part * part * (3 - 2 * part);
    return (struct color) { from->r + part * (to->r - from->r), from->g + part * (to->g - from->g),
                            from->b + part * (to->b - from->b) };
}

static struct color pixel(const struct view *view, int x, int y)
{
    struct color sum = { 0 };
    double step = view->picture_width / view->width;
    for (int i = 0; i < SAMPLES * SAMPLES; i++) {
        int column = i % SAMPLES, row = i / SAMPLES;
        double right = x - view->width / 2.0 + (column + 0.5) / SAMPLES;
        double down = y - view->height / 2.0 + (row + 0.5) / SAMPLES;
        struct color color = paint(turns(view->re + right * step, view->im - down * step));
        sum = (struct color) { sum.r + color.r, sum.g + color.g, sum.b + color.b };
    }
    return sum;
}

/* Mixed as light mixes, and written as screens want it. */
static unsigned char screen(double light)
{
    return (unsigned char)(255 * pow(light / (SAMPLES * SAMPLES), 1 / 2.2) + 0.5);
}

static int render(const struct tile *tile, struct pixels *pixels)
{
    for (int y = 0; y < TILE; y++)
        for (int x = 0; x < TILE; x++) {
            struct color color = pixel(&tile->view, tile->x + x, tile->y + y);
            unsigned char *rgb = pixels->rgb[y][x];
            rgb[0] = screen(color.r);
            rgb[1] = screen(color.g);
            rgb[2] = screen(color.b);
        }
    return 0;
}
MPROC_TASK(render);

/* ---- all of them */

static int complain(const char *what)
{
    fprintf(stderr, "cluster_render: %s\n", what);
    return 1;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct tile *cut(const struct view *view, size_t *n)
{
    size_t across = ((size_t)view->width + TILE - 1) / TILE, down = ((size_t)view->height + TILE - 1) / TILE;
    struct tile *tiles = calloc(across * down, sizeof *tiles);
    *n = across * down;
    for (size_t i = 0; tiles && i < *n; i++)
        tiles[i] = (struct tile) { *view, (int)(i % across) * TILE, (int)(i / across) * TILE };
    return tiles;
}

static int write_picture(const char *path, const struct view *view, const struct tile *tiles,
                         const struct pixels *pixels, size_t n)
{
    png_image image = { .version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB };
    image.width = (png_uint_32)view->width;
    image.height = (png_uint_32)view->height;
    unsigned char *picture = malloc((size_t)view->width * (size_t)view->height * 3);
    if (!picture)
        return complain("no memory for the picture");
    for (size_t i = 0; i < n; i++)
        for (int y = 0; y < TILE && tiles[i].y + y < view->height; y++) {
            int width = view->width - tiles[i].x < TILE ? view->width - tiles[i].x : TILE;
            size_t at = (size_t)(tiles[i].y + y) * (size_t)view->width + (size_t)tiles[i].x;
            memcpy(picture + at * 3, pixels[i].rgb[y], (size_t)width * 3);
        }
    int is_well = png_image_write_to_file(&image, path, 0, picture, 0, NULL);
    free(picture);
    return is_well ? 0 : complain(image.message);
}

static size_t count_tiles(const struct mproc_outcome *outcomes, size_t n, int worker)
{
    size_t tiles = 0;
    for (size_t i = 0; i < n; i++)
        tiles += outcomes[i].worker == worker;
    return tiles;
}

/* Who has done what. */
static void sum_up(mproc_pool *pool, const struct mproc_outcome *outcomes, size_t n, double seconds)
{
    struct mproc_machine_statistics machines[MACHINES];
    int count = mproc_pool_machines(pool, machines, MACHINES); /* negative: it is this machine's pool */
    size_t rest = n;
    printf("%zu tiles in %.2f s\n", n, seconds);
    for (int i = 0; i < count && i < MACHINES; i++) {
        size_t tiles = count_tiles(outcomes, n, machines[i].worker);
        printf("%s: %zu tiles\n", machines[i].name, tiles);
        rest -= tiles;
    }
    if (count >= 0 && rest > 0) /* lost since, or come a moment ago */
        printf("others: %zu tiles\n", rest);
}

static int render_all(const char *cluster, const struct tile *tiles, struct pixels *pixels, size_t n)
{
    struct mproc_outcome *outcomes = calloc(n, sizeof *outcomes);
    struct mproc_error error;
    mproc_pool *pool;
    if (!outcomes)
        return complain("no memory for the outcomes");
    int result = mproc_pool_open(&pool, .cluster = cluster, .error = &error); /* NULL: this machine */
    if (result == 0) {
        double start = now();
        result = mproc_map(pool, render, tiles, pixels, n, .retries = 5, .outcomes = outcomes,
                           .progress = mproc_progress_bar, .error = &error);
        if (result == 0)
            sum_up(pool, outcomes, n, now() - start);
        mproc_pool_close(pool);
    }
    free(outcomes);
    return result ? complain(error.message) : 0;
}

static int read_options(int argc, char **argv, struct view *view, const char **cluster)
{
    static const struct option options[] = {
        { "cluster", required_argument, NULL, 'c' },
        { "size", required_argument, NULL, 's' },
        { "at", required_argument, NULL, 'a' },
        { 0 },
    };
    int option;
    char rest;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (option == 'c')
            *cluster = optarg;
        else if (option == 's' ? sscanf(optarg, "%dx%d%c", &view->width, &view->height, &rest) != 2
                               : option != 'a' || sscanf(optarg, "%lf,%lf,%lf%c", &view->re, &view->im,
                                                         &view->picture_width, &rest) != 3)
            return 0;
    return view->width > 0 && view->width <= 1 << 15 && view->height > 0 && view->height <= 1 << 15 &&
           view->picture_width > 0 && optind + 1 == argc;
}

int main(int argc, char **argv)
{
    int err = mproc_init(&argc, &argv); /* with --mproc-agent it does not return: this process serves */
    if (err)
        return complain(mproc_strerror(err));
    struct view view = { 1280, 800, -0.743643887037151, 0.131825904205330, 0.00006 };
    const char *cluster = NULL;
    if (!read_options(argc, argv, &view, &cluster)) {
        fputs("usage: cluster_render [--cluster URL] [--size WIDTHxHEIGHT] [--at RE,IM,WIDTH] out.png\n", stderr);
        return 2;
    }
    size_t n;
    struct tile *tiles = cut(&view, &n);
    struct pixels *pixels = tiles ? calloc(n, sizeof *pixels) : NULL;
    int status = pixels ? render_all(cluster, tiles, pixels, n) : complain("no memory for the tiles");
    if (status == 0)
        status = write_picture(argv[optind], &view, tiles, pixels, n);
    free(pixels);
    free(tiles);
    return status;
}
