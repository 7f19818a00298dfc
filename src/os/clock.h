/* Time. SPDX-License-Identifier: MIT */
#ifndef OS_CLOCK_H
#define OS_CLOCK_H

#include <stdint.h>

/* Monotonic nanoseconds. */
int64_t os_now(void);

/* A timeout as a point in time, and what is left until then as a timeout: 0 if it is over, negative if there is no
 * limit.
 */
int64_t os_deadline(int64_t timeout);
int64_t os_left(int64_t deadline);

/* Sleeps for about that many nanoseconds, or less if a signal comes. */
void os_sleep(int64_t nanoseconds);

/* Lets others that wait for this CPU go first. */
void os_yield(void);

/* Tells the CPU that this is a spin loop. */
static inline void os_cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

#endif
