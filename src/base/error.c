/* Error codes to texts and names. SPDX-License-Identifier: MIT */
#include <mproc/error.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>

static const struct {
    int code;
    const char *name, *text;
} own_codes[] = {
#define ROW(name, value, text) { value, #name, text },
    MPROC_ERROR_MAP(ROW)
#undef ROW
};

enum { OWN_CODES = sizeof own_codes / sizeof own_codes[0] };

/* The errno values that calls of this library pass on. Texts are the system's, in English: strerror would return a
 * buffer that the next call overwrites for some of them, and the locale's language. */
#define ERRNO_MAP(X)                                                                                                   \
    X(EPERM, "not permitted")                                                                                          \
    X(ENOENT, "no such file, or nothing of that name")                                                                 \
    X(ESRCH, "no such process")                                                                                        \
    X(EINTR, "a signal interrupted the wait")                                                                          \
    X(EIO, "input or output error")                                                                                    \
    X(EBADF, "bad file descriptor")                                                                                    \
    X(ECHILD, "no such child process")                                                                                 \
    X(EAGAIN,                                                                                                          \
      "not ready yet (a process is still running), or used up for the moment (no process or thread can be started)")   \
    X(ENOMEM, "no memory left")                                                                                        \
    X(EACCES, "permission denied")                                                                                     \
    X(EFAULT, "bad address")                                                                                           \
    X(EBUSY, "in use; a process: join or stop it first")                                                               \
    X(EEXIST, "exists already")                                                                                        \
    X(EINVAL, "invalid argument")                                                                                      \
    X(ENFILE, "the system has no file descriptors left")                                                               \
    X(EMFILE, "the process has no file descriptors, pools or handles left to open")                                    \
    X(EFBIG, "more than the process may have in a file (RLIMIT_FSIZE)")                                                \
    X(ENOSPC, "no room left in the file system")                                                                       \
    X(EROFS, "the file system may only be read")                                                                       \
    X(ENAMETOOLONG, "the name is too long")                                                                            \
    X(EPIPE, "the other side is gone")                                                                                 \
    X(EDEADLK, "the call would wait for itself")                                                                       \
    X(ENOSYS, "a call that mproc needs is not there: Linux 5.4 or newer is required, and a tool or sandbox that "      \
              "knows its calls")                                                                                       \
    X(ENOTDIR, "not a directory")                                                                                      \
    X(EISDIR, "a directory")                                                                                           \
    X(E2BIG, "the environment is too large")                                                                           \
    X(EOVERFLOW, "a number or a size is larger than can be counted")                                                   \
    X(ETIMEDOUT, "timed out")

static const struct {
    int number;
    const char *name, *text;
} errno_codes[] = {
#define ROW(name, text) { name, #name, text },
    ERRNO_MAP(ROW)
#undef ROW
};

/* Of the others, where libc tells without a buffer. */
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
#define SYSTEMS_TEXT(number) strerrordesc_np(number)
#define SYSTEMS_NAME(number) strerrorname_np(number)
#else
#define SYSTEMS_TEXT(number) NULL
#define SYSTEMS_NAME(number) NULL
#endif

enum { ERRNO_CODES = sizeof errno_codes / sizeof errno_codes[0] };

const char *mproc_strerror(int code)
{
    if (code == 0)
        return "success";
    if (code > 0)
        return "some items did not succeed: look at their outcomes";
    for (int i = 0; i < OWN_CODES; i++)
        if (own_codes[i].code == code)
            return own_codes[i].text;
    for (int i = 0; i < ERRNO_CODES; i++)
        if (code == -errno_codes[i].number)
            return errno_codes[i].text;
    const char *text = code > -4096 ? SYSTEMS_TEXT(-code) : NULL;
    return text ? text : "unknown error code";
}

const char *mproc_error_name(int code)
{
    if (code >= 0)
        return code == 0 ? "success" : "unsuccessful items";
    for (int i = 0; i < OWN_CODES; i++)
        if (own_codes[i].code == code)
            return own_codes[i].name;
    for (int i = 0; i < ERRNO_CODES; i++)
        if (code == -errno_codes[i].number)
            return errno_codes[i].name;
    const char *name = code > -4096 ? SYSTEMS_NAME(-code) : NULL;
    return name ? name : "unknown";
}
