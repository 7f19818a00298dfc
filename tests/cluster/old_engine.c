/* An engine of a version that there never was. SPDX-License-Identifier: MIT */
#include <mproc/engine.h>

extern const struct mproc_engine mproc_engine;
const struct mproc_engine mproc_engine = { .version = MPROC_ENGINE_VERSION + 1 };
