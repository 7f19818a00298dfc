/* Makes thumbnails of the pictures in a folder, whatever is wrong with some of them. SPDX-License-Identifier: MIT
 *
 *     thumbnails [-t seconds that one picture may take] [folder of pictures [folder for thumbnails]]
 *
 * Without arguments it draws itself a folder of pictures below /tmp, six of which are no good: two are cut off, one is
 * empty, one is text, one makes this program crash, and one never comes. Each costs itself and no other.
 *
 * libgd reads and draws the pictures: PNG and JPEG behind one small interface, in every distribution.
 */
#include <dirent.h>
#include <errno.h>
#include <gd.h>
#include <limits.h>
#include <mproc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIDE = 160, GOOD = 40, BAD = 6 }; /* a thumbnail's longer side; pictures that are drawn */

struct picture {
    char name[256];
};

static const char *from = "pictures", *to = "thumbnails"; /* the workers, forked later, have them too */

/* ---- one picture, in a worker */

static char complaint[80]; /* what is wrong with the picture: what gd said first */

static void keep_complaint(int priority, const char *format, va_list arguments)
{
    (void)priority;
    if (!complaint[0])
        vsnprintf(complaint, sizeof complaint, format, arguments);
    complaint[strcspn(complaint, "\n")] = '\0';
}

/* A picture that gd complains of is refused, even if gd makes something of it: one half, and the rest grey, say. */
static gdImagePtr read_picture(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", from, name);
    FILE *file = fopen(path, "rb");
    snprintf(complaint, sizeof complaint, "%s", file ? "" : strerror(errno));
    if (!file)
        return NULL;
    int first = ungetc(getc(file), file);
    gdImagePtr image = first == 0xff ? gdImageCreateFromJpegEx(file, 0) : gdImageCreateFromPng(file);
    fclose(file);
    if (image && !complaint[0])
        return image;
    if (image)
        gdImageDestroy(image);
    else if (!complaint[0])
        snprintf(complaint, sizeof complaint, "neither PNG nor JPEG");
    return NULL;
}

static int write_thumbnail(gdImagePtr thumbnail, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.png", to, name);
    FILE *file = fopen(path, "wb");
    if (!file)
        return mproc_task_fail(errno, "%s: %s", path, strerror(errno));
    gdImagePng(thumbnail, file);
    int err = ferror(file);
    return fclose(file) || err ? mproc_task_fail(EIO, "%s cannot be written", path) : 0;
}

static int make_thumbnail(const struct picture *picture, long *pixels)
{
    gdImagePtr image = read_picture(picture->name);
    if (!image)
        return mproc_task_fail(EINVAL, "%s", complaint);
    int width = gdImageSX(image), height = gdImageSY(image), longer = width > height ? width : height;
    int small_width = SIDE * width / longer, small_height = SIDE * height / longer;
    /* A bug, left in on purpose: if a picture is more than SIDE times as wide as high, small_height is 0. Gd makes no
     * such image, but returns NULL, and the next line follows it. */
    gdImagePtr thumbnail = gdImageCreateTrueColor(small_width, small_height);
    gdImageCopyResampled(thumbnail, image, 0, 0, 0, 0, small_width, small_height, width, height);
    int err = write_thumbnail(thumbnail, picture->name);
    gdImageDestroy(thumbnail);
    gdImageDestroy(image);
    *pixels = (long)width * height;
    return err;
}
MPROC_TASK(make_thumbnail);

/* ---- pictures to try it with */

static void need(int is_well, const char *what)
{
    if (is_well)
        return;
    fprintf(stderr, "thumbnails: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* Bubbles; the file is cut off after some bytes, if that is not 0. */
static void draw(const char *path, int width, int height, off_t cut)
{
    gdImagePtr image = gdImageCreateTrueColor(width, height);
    for (int i = 0; i < 200; i++) {
        int diameter = width * (i % 17 + 3) / 100, color = gdTrueColor(i * 61 % 256, i * 37 % 256, 255 - i);
        gdImageFilledEllipse(image, i * 7919 % width, i * 3571 % height, diameter, diameter, color);
    }
    need(gdImageFile(image, path) && (!cut || truncate(path, cut) == 0), path);
    gdImageDestroy(image);
}

static void draw_pictures(void)
{
    char folder[] = "/tmp/thumbnails-XXXXXX", path[64];
    need(mkdtemp(folder) && chdir(folder) == 0 && mkdir(from, 0777) == 0, folder);
    for (int i = 0; i < GOOD; i++) {
        snprintf(path, sizeof path, "pictures/picture-%02d.%s", i, i % 3 ? "jpg" : "png");
        draw(path, 100 + 397 * i % 1500, 100 + 211 * i % 1100, 0);
    }
    draw("pictures/cut-off.jpg", 800, 600, 5000);
    draw("pictures/cut-off.png", 800, 600, 5000);
    draw("pictures/long.png", 1000, 2, 0);
    FILE *empty = fopen("pictures/empty.jpg", "w"), *text = fopen("pictures/text.png", "w");
    need(empty && text && fclose(empty) == 0 && fputs("Not a picture.\n", text) >= 0 && fclose(text) == 0, folder);
    /* Nobody writes to this: opening it takes for ever, as on a network drive that has gone. */
    need(mkfifo("pictures/never.jpg", 0666) == 0, folder);
    printf("in %s:\n%d good and %d bad pictures are in pictures\n", folder, GOOD, BAD);
}

/* ---- all of them */

static int is_picture(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && entry->d_type != DT_DIR;
}

static struct picture *find_pictures(size_t *n)
{
    struct dirent **entries;
    int count = scandir(from, &entries, is_picture, alphasort);
    need(count >= 0, from);
    struct picture *pictures = calloc((size_t)count + 1, sizeof *pictures);
    need(pictures != NULL, from);
    for (int i = 0; i < count; i++) {
        memcpy(pictures[i].name, entries[i]->d_name, strlen(entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
    *n = (size_t)count;
    return pictures;
}

static int make_thumbnails(const struct picture *pictures, size_t n, int seconds)
{
    long *pixels = calloc(n + 1, sizeof *pixels), sum = 0;
    struct mproc_outcome *outcomes = calloc(n + 1, sizeof *outcomes);
    struct mproc_error error;
    mproc_pool *pool;
    need(pixels && outcomes, "outcomes");
    int bad = mproc_pool_open(&pool, .memory_limit = (size_t)256 << 20, .trace = "run.json", .error = &error);
    if (bad == 0) {
        bad = mproc_map(pool, make_thumbnail, pictures, pixels, n, .timeout = MPROC_SEC(seconds), .retries = 1,
                        .outcomes = outcomes, .progress = mproc_progress_bar, .error = &error);
        mproc_pool_close(pool);
    }
    if (bad < 0)
        fprintf(stderr, "thumbnails: %s\n", error.message);
    for (size_t i = 0; i < n && bad >= 0; i++) {
        char text[200];
        mproc_outcome_text(&outcomes[i], text, sizeof text);
        if (outcomes[i].kind != MPROC_OK)
            printf("%-12s %s\n", pictures[i].name, text);
        sum += pixels[i];
    }
    if (bad >= 0)
        printf("%zu thumbnails, of %.1f million pixels, are in %s\n"
               "who did what when: mproc-timeline run.json > run.svg\n",
               n - (size_t)bad, (double)sum / 1e6, to);
    free(pixels);
    free(outcomes);
    return bad;
}

int main(int argc, char **argv)
{
    int seconds = 3, option;
    while ((option = getopt(argc, argv, "t:")) == 't')
        seconds = atoi(optarg);
    if (option != -1 || seconds < 1 || argc - optind > 2) {
        fprintf(stderr, "usage: thumbnails [-t seconds] [folder of pictures [folder for thumbnails]]\n");
        return 2;
    }
    if (optind == argc)
        draw_pictures();
    if (optind < argc)
        from = argv[optind];
    if (optind + 1 < argc)
        to = argv[optind + 1];
    need(mkdir(to, 0777) == 0 || errno == EEXIST, to);
    gdSetErrorMethod(keep_complaint);
    size_t n;
    struct picture *pictures = find_pictures(&n);
    int bad = make_thumbnails(pictures, n, seconds);
    free(pictures);
    return bad < 0 ? 2 : bad != (optind == argc ? BAD : 0);
}
