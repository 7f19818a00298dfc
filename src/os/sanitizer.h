/* Which sanitizer the library is built with. SPDX-License-Identifier: MIT */
#ifndef OS_SANITIZER_H
#define OS_SANITIZER_H

#if defined(__has_feature)
#define OS_HAS_FEATURE(name) __has_feature(name)
#else
#define OS_HAS_FEATURE(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || OS_HAS_FEATURE(address_sanitizer)
#define OS_ADDRESS_SANITIZER 1
#else
#define OS_ADDRESS_SANITIZER 0
#endif

#if defined(__SANITIZE_THREAD__) || OS_HAS_FEATURE(thread_sanitizer)
#define OS_THREAD_SANITIZER 1
#else
#define OS_THREAD_SANITIZER 0
#endif

#endif
