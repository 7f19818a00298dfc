/* Filling struct mproc_error. SPDX-License-Identifier: MIT */
#include "base/report.h"

#include <mproc/error.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void start(struct mproc_error *error, int code)
{
    memset(error, 0, sizeof *error);
    error->code = code;
    error->item = SIZE_MAX;
}

int report(struct mproc_error *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    start(error, code);
    size_t used = 0;
    if (format) {
        va_list values;
        va_start(values, format);
        vsnprintf(error->message, sizeof error->message, format, values);
        va_end(values);
        used = strlen(error->message);
    }
    snprintf(error->message + used, sizeof error->message - used, "%s%s", used ? ": " : "", mproc_strerror(code));
    return code;
}

int report_text(struct mproc_error *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    start(error, code);
    va_list values;
    va_start(values, format);
    vsnprintf(error->message, sizeof error->message, format, values);
    va_end(values);
    return code;
}
