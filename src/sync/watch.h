/* Telling processes that poll a descriptor. SPDX-License-Identifier: MIT
 *
 * A process that wants to poll for news of an object in the heap binds a datagram socket to a name that the kernel
 * makes up (an abstract one, which is in no file system and ends with the socket), and enters the name and the object
 * in a table in the heap. Whoever has news sends a datagram of no bytes there. The name is all that the two need to
 * share: no descriptor has to be passed, and nothing is left behind by either.
 *
 * An entry is told of once each time it is armed. Its owner arms it and then looks for news; who has news stores them
 * and then looks for armed entries: one of them sees the other. One who is killed before it sends leaves an entry that
 * was not told: its owner looks by itself at times.
 */
#ifndef SYNC_WATCH_H
#define SYNC_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { WATCH_NAME = 8 };

/* The kernel's name of a socket; its first byte is 0. */
struct watch_name {
    unsigned char bytes[WATCH_NAME];
    uint32_t length;
};

struct region_watch;

/* A socket to be told by. Returns the descriptor or -errno. */
int watch_open(struct watch_name *name);

/* Enters a name for an object, not armed. NULL if there is no place. */
struct region_watch *watch_begin(const void *object, const struct watch_name *name);
void watch_end(struct region_watch *watch);

void watch_arm(struct region_watch *watch);
bool watch_is_armed(struct region_watch *watch);

/* Sends to the name, as one who has news would. */
void watch_send(const struct watch_name *name);

/* Tells all that watch the object. May be called in a signal handler. */
void watch_tell(const void *object);

/* Takes in what was sent. True if there was anything. */
bool watch_drain(int socket);

#endif
