/* Lengths of time. SPDX-License-Identifier: MIT
 *
 * Wherever a call takes a timeout, it is an int64_t of nanoseconds from now on, by the monotonic clock. 0 polls: the
 * call answers at once. MPROC_FOREVER, or any negative number, sets no limit.
 */
#ifndef MPROC_TIME_H
#define MPROC_TIME_H

#include <stdint.h>

#define MPROC_FOREVER INT64_C(-1)
#define MPROC_US(microseconds) ((int64_t)((microseconds)*INT64_C(1000)))
#define MPROC_MS(milliseconds) ((int64_t)((milliseconds)*INT64_C(1000000)))
#define MPROC_SEC(seconds) ((int64_t)((seconds)*INT64_C(1000000000)))

#endif
