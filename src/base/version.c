/* The library's version. SPDX-License-Identifier: MIT */
#include <mproc/version.h>

#define TEXT_(value) #value
#define TEXT(value) TEXT_(value)

const char *mproc_version(void)
{
    return TEXT(MPROC_VERSION_MAJOR) "." TEXT(MPROC_VERSION_MINOR) "." TEXT(MPROC_VERSION_PATCH);
}
