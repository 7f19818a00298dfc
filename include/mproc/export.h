/* What every public header needs: linkage and visibility. SPDX-License-Identifier: MIT */
#ifndef MPROC_EXPORT_H
#define MPROC_EXPORT_H

#if !defined(__GNUC__)
#error "mproc needs a compiler with the GNU extensions: gcc or clang"
#endif

#if !defined(__cplusplus) && __STDC_VERSION__ < 201112L
#error "mproc needs C11 or newer: compile with -std=c11 or -std=gnu11"
#endif

#define MPROC_API __attribute__((visibility("default")))

#ifdef __cplusplus
#define MPROC_BEGIN_DECLARATIONS extern "C" {
#define MPROC_END_DECLARATIONS }
#else
#define MPROC_BEGIN_DECLARATIONS
#define MPROC_END_DECLARATIONS
#endif

#endif
