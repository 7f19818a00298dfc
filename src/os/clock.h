/* Time. SPDX-License-Identifier: MIT */
#ifndef OS_CLOCK_H
#define OS_CLOCK_H

#include <stdint.h>

/* Monotonic nanoseconds. */
int64_t os_now(void);

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
