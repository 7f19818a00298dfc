/* Time. SPDX-License-Identifier: MIT */
#include "os/clock.h"

#include <sched.h>
#include <time.h>

int64_t os_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void os_sleep(int64_t nanoseconds)
{
    struct timespec time = { .tv_sec = (time_t)(nanoseconds / 1000000000),
                             .tv_nsec = (long)(nanoseconds % 1000000000) };
    nanosleep(&time, NULL);
}

void os_yield(void)
{
    sched_yield();
}
