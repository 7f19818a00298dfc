/* Names of sockets for those who want them in the file system. SPDX-License-Identifier: MIT */
#include "endpoint.h"

#include "channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[32];

int endpoint_create(void)
{
    strcpy(folder, "/tmp/mproc-bench-XXXXXX");
    return mkdtemp(folder) ? 0 : -errno;
}

void endpoint_name(char name[ENDPOINT_SIZE], int number)
{
    snprintf(name, ENDPOINT_SIZE, "ipc://%s/%d", folder, number);
}

void endpoint_destroy(void)
{
    for (int i = 0; i < SIDES_MAX; i++) {
        char name[ENDPOINT_SIZE];
        endpoint_name(name, i);
        unlink(name + strlen("ipc://"));
    }
    rmdir(folder);
}
