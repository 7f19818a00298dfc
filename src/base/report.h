/* Filling struct mproc_error. SPDX-License-Identifier: MIT */
#ifndef BASE_REPORT_H
#define BASE_REPORT_H

#include <mproc/outcome.h>

/* Fills *error (NULL is fine) with a code, no item, and a message: the text of the code, preceded by what format says
 * if it is not NULL. Returns code. */
int report(struct mproc_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same for a message that is complete in itself. */
int report_text(struct mproc_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
