/* The rows of all programs in one file, with the machine that they are of. SPDX-License-Identifier: MIT */
#include "results.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static json_t *read_versions(const char *directory)
{
    char path[4096], line[256];
    json_t *versions = json_object();
    snprintf(path, sizeof path, "%s/versions", directory);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        char *version = strchr(line, '=');
        if (!version)
            continue;
        *version++ = '\0';
        version[strcspn(version, "\n")] = '\0';
        json_object_set_new(versions, line, json_string(version));
    }
    if (file)
        fclose(file);
    return versions;
}

static void read_processor(char *name, size_t size)
{
    char line[256];
    snprintf(name, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(name, size, "%s", strchr(line, ':') + 2);
            break;
        }
    if (file)
        fclose(file);
}

static json_t *read_rows(const char *directory)
{
    char pattern[4096];
    glob_t found;
    json_t *rows = json_array();
    snprintf(pattern, sizeof pattern, "%s/rows/*.json", directory);
    if (glob(pattern, 0, NULL, &found) != 0)
        return rows;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        json_error_t error;
        json_t *file = json_load_file(found.gl_pathv[i], 0, &error);
        if (!file || json_array_extend(rows, file) != 0)
            fprintf(stderr, "%s: %s\n", found.gl_pathv[i], file ? "no rows" : error.text);
        json_decref(file);
    }
    globfree(&found);
    return rows;
}

static json_t *add_up_noise(const json_t *rows)
{
    double runs = 0, repeated = 0, kept = 0, most = 0;
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        const json_t *noise = json_object_get(row, "noise");
        runs += number_of(noise, "runs");
        repeated += number_of(noise, "repeated");
        kept += number_of(noise, "kept_though_disturbed");
        most = number_of(noise, "taken_most") > most ? number_of(noise, "taken_most") : most;
    }
    return json_pack("{sf sf sf sf}", "runs", runs, "repeated", repeated, "kept_though_disturbed", kept, "taken_most",
                     most);
}

int merge_rows(const char *directory)
{
    struct utsname machine;
    char date[32], processor[256];
    time_t now = time(NULL);
    struct tm today;
    uname(&machine);
    read_processor(processor, sizeof processor);
    strftime(date, sizeof date, "%Y-%m-%d", localtime_r(&now, &today));
    json_t *rows = read_rows(directory);
    json_t *results =
        json_pack("{ss ss# ss ss si so so so}", "date", date, "kernel", machine.release, (int)strlen(machine.release),
                  "architecture", machine.machine, "processor", processor, "cpus", (int)sysconf(_SC_NPROCESSORS_ONLN),
                  "versions", read_versions(directory), "noise", add_up_noise(rows), "rows", rows);
    int result = results ? json_dumpf(results, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : -1;
    json_decref(results);
    return result != 0;
}
