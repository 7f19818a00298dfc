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

int64_t os_deadline(int64_t timeout)
{
    if (timeout == 0)
        return 0;
    int64_t now = timeout > 0 ? os_now() : 0;
    return timeout < 0 || timeout > INT64_MAX - now ? INT64_MAX : now + timeout;
}

int64_t os_left(int64_t deadline)
{
    if (deadline == INT64_MAX)
        return -1;
    int64_t left = deadline - os_now();
    return left > 0 ? left : 0;
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
