/* Processes that the kernel kills when another one ends. SPDX-License-Identifier: MIT */
#include "os/leash.h"

#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

int os_leash_take(int fd)
{
    pid_t self = getpid(), owner = getpgrp() == self ? -self : self;
    if (fcntl(fd, F_SETOWN, owner) != 0 || fcntl(fd, F_SETSIG, SIGKILL) != 0 || fcntl(fd, F_SETFL, O_ASYNC) != 0)
        return -errno;
    return os_has_hung_up(fd) ? -EPIPE : 0;
}
