/* Lengths of time. SPDX-License-Identifier: MIT
 *
 * Where a call has a parameter `timeout`, it is an int64_t of nanoseconds from now on, by the monotonic clock. 0 polls:
 * the call answers at once. MPROC_FOREVER, or any negative number, sets no limit. Options that are times, among them
 * .timeout of a map, are nanoseconds too; 0 is their default, and each says what that is.
 */
#ifndef MPROC_TIME_H
#define MPROC_TIME_H

#include <stdint.h>

#define MPROC_FOREVER INT64_C(-1) /**< no limit */
/** Microseconds, milliseconds and seconds as nanoseconds. */
#define MPROC_US(microseconds) ((int64_t)((microseconds)*INT64_C(1000)))
#define MPROC_MS(milliseconds) ((int64_t)((milliseconds)*INT64_C(1000000)))
#define MPROC_SEC(seconds) ((int64_t)((seconds)*INT64_C(1000000000)))

#endif
