/* Contestants that are programs of their own. SPDX-License-Identifier: MIT */
#include "run.h"

#include <stdio.h>
#include <unistd.h>

int run_program(const char *command, const struct load *load, struct finding *finding)
{
    char line[1024];
    int length = snprintf(line, sizeof line, "PROCESSES=%d; %s %s %d %d %zu %d %ld %ld",
                          load->producers + load->consumers, command, load->round_trips ? "trips" : "stream",
                          load->producers, load->consumers, load->size, load->bound, load->count, load->pause);
    if (length < 0 || (size_t)length >= sizeof line)
        return RUN_FAILED;
    FILE *output = popen(line, "r"); /* NOLINT(cert-env33-c): the command is ours */
    if (!output)
        return RUN_FAILED;
    *finding = (struct finding) { 0 };
    int expected = load->round_trips ? 2 : 1;
    int found = fscanf(output, "%lf %lf", &finding->first, &finding->second);
    return pclose(output) == 0 && found == expected ? 0 : RUN_FAILED;
}
