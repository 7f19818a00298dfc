/* The version of the header and of the library. SPDX-License-Identifier: MIT */
#ifndef MPROC_VERSION_H
#define MPROC_VERSION_H

#include <mproc/export.h>

/** Version of the headers that a program was compiled with. CMakeLists.txt reads it from here. */
#define MPROC_VERSION_MAJOR 0
#define MPROC_VERSION_MINOR 1
#define MPROC_VERSION_PATCH 0

MPROC_BEGIN_DECLARATIONS

/** Version of the library that the program runs with, as "major.minor.patch".
 *
 * The text is constant and never freed. Does not block; may be called from any thread, in a forked child and in a
 * signal handler. Never fails. Since 0.1. */
MPROC_API const char *mproc_version(void);

MPROC_END_DECLARATIONS

#endif
