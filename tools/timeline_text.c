/* Text in the picture. SPDX-License-Identifier: MIT */
#include "timeline_svg.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"
#define ELLIPSIS "\xe2\x80\xa6"
#define CLOCK_LEAST 120e6 /* microseconds that are told as 2:00 */

/* XML has no way to write most control characters, nor the two code points at the end of the first plane. */
void put_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '<')
            fputs("&lt;", out);
        else if (byte == '>')
            fputs("&gt;", out);
        else if (byte == '&')
            fputs("&amp;", out);
        else if (byte == '"')
            fputs("&quot;", out);
        else if (byte < ' ' && byte != '\n' && byte != '\t')
            fputs(REPLACEMENT, out);
        else if (strncmp(text, "\xef\xbf\xbe", 3) == 0 || strncmp(text, "\xef\xbf\xbf", 3) == 0) {
            fputs(REPLACEMENT, out);
            text += 2;
        } else
            putc(byte, out);
    }
}

static bool begins_character(char byte)
{
    return ((unsigned char)byte & 0xc0) != 0x80;
}

static size_t count_characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += begins_character(*text);
    return count;
}

void put_cut_text(FILE *out, const char *text, size_t most)
{
    size_t length = 0, seen = 0;
    if (count_characters(text) <= most) {
        put_text(out, text);
        return;
    }
    while (!begins_character(text[length]) || seen++ < most - 1)
        length++;
    char *copy = copy_text(text);
    copy[length] = '\0';
    put_text(out, copy);
    fputs(ELLIPSIS, out);
    free(copy);
}

void put_pixels(FILE *out, double pixels)
{
    char text[NUMBER_SIZE];
    size_t length = (size_t)snprintf(text, sizeof text, "%.2f", pixels);
    while (text[length - 1] == '0')
        length--;
    if (text[length - 1] == '.')
        length--;
    fprintf(out, "%.*s", (int)length, text);
}

double text_width(const char *text, double size)
{
    return 0.6 * size * (double)count_characters(text);
}

const char *print_count(char text[NUMBER_SIZE], size_t count)
{
    char digits[NUMBER_SIZE];
    int length = snprintf(digits, sizeof digits, "%zu", count), used = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
    return text;
}

static void print_clock(char text[NUMBER_SIZE], double time)
{
    int64_t seconds = (int64_t)(time / 1e6 + 0.5);
    int minute = (int)(seconds / 60 % 60), second = (int)(seconds % 60);
    if (seconds >= 3600)
        snprintf(text, NUMBER_SIZE, "%" PRId64 ":%02d:%02d", seconds / 3600, minute, second);
    else
        snprintf(text, NUMBER_SIZE, "%d:%02d", minute, second);
}

static const struct unit {
    double size; /* microseconds */
    const char *name;
} units[] = { { 1e6, "s" }, { 1e3, "ms" }, { 1, "\xc2\xb5s" }, { 1e-3, "ns" } };

static const struct unit *find_unit(double time)
{
    size_t i = 0;
    while (i < sizeof units / sizeof *units - 1 && time < units[i].size)
        i++;
    return &units[i];
}

const char *print_time(char text[NUMBER_SIZE], double time)
{
    if (time >= CLOCK_LEAST) {
        print_clock(text, time);
        return text;
    }
    const struct unit *unit = find_unit(time);
    double value = time / unit->size;
    int decimals = value >= 99.95 || time <= 0 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(text, NUMBER_SIZE, "%.*f %s", decimals, value, unit->name);
    return text;
}

const char *print_tick(char text[NUMBER_SIZE], double time, double step, double most)
{
    if (most >= CLOCK_LEAST && step >= 1e6) {
        print_clock(text, time);
        return text;
    }
    const struct unit *unit = find_unit(most * (1 + 1e-9));
    if (time <= 0)
        step = unit->size;
    int decimals = (int)ceil(-log10(step / unit->size) - 1e-9);
    snprintf(text, NUMBER_SIZE, "%.*f %s", decimals > 0 ? decimals : 0, time / unit->size, unit->name);
    return text;
}

const char *print_share(char text[NUMBER_SIZE], double share)
{
    double percent = fmin(100 * share, 100);
    snprintf(text, NUMBER_SIZE, "%.*f %%", percent > 0 && percent < 0.95 ? 1 : 0, percent);
    return text;
}
