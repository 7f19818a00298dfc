/* There are no contestants on Redis. SPDX-License-Identifier: MIT */
#include "redis.h"

#include <stdio.h>

const struct redis_contestants *redis_start(void)
{
    printf(
        "Clusters on Redis are not measured, as hiredis or OpenSSL was not there when this was built (make bench-deps "
        "installs them).\n\n");
    return NULL;
}

void redis_end(void)
{
}
