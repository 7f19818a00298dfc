/* Without jansson there is no file. SPDX-License-Identifier: MIT */
#include "frame.h"

#include <stdio.h>

void json_add(const struct measured *measured, const char *program)
{
    (void)measured;
    (void)program;
}

int json_write(const char *path)
{
    fprintf(stderr, "%s is not written, as jansson was not there when this was built\n", path);
    return 0;
}
