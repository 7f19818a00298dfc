/* Queues: messages between processes and threads. SPDX-License-Identifier: MIT
 *
 *     mproc_queue *queue = NULL;
 *     mproc_queue_create(&queue, .messages = 100);
 *     mproc_process_start(&process, work, queue);      // work(mproc_queue *queue) gets the same queue
 *     mproc_queue_put(queue, &order, sizeof order, MPROC_FOREVER);
 *     mproc_queue_close(queue);                        // no more: who gets is told when the queue is empty
 *
 * A queue lies in the shared heap: its address is good in every process of the family, whenever and however that was
 * started, and is passed like any other pointer into the heap. Any number of processes and threads put and get at the
 * same time. A message is a number of bytes, from none to as many as the heap has room for.
 *
 * ORDER. First in, first out, for all: messages are taken in the order in which they were put. Two exceptions: what
 * comes back from a consumer that died comes before everything else; and consumers that take at the same time may
 * return from their calls in any order.
 *
 * WHEN IT IS THERE. What a call to put returned 0 for is in the queue and can be taken; there is no thread in between.
 *
 * DEATH. Whoever puts or gets may be killed at any instruction. A message that was put is taken exactly once: a
 * consumer that is killed in the midst of taking it has taken it, all of it, or it is left to the others. One whose put
 * did not return is there or not. What a consumer had taken is its own and gone with it, unless the queue was made with
 * .redeliver. What comes back goes to the next who gets after the death was noticed, which is at once as long as no
 * more than 63 messages are borrowed or not done.
 *
 * WHO WRITES AND WHO READS. A process is a writer of a queue from its first put or reserve on, and a reader from its
 * first get or borrow on, until it ends or calls mproc_queue_detach. The process that created the queue is both from
 * the beginning, since it can hand the queue on at any time. When no writer is left, whoever gets is told
 * (MPROC_E_NO_WRITERS) as soon as the queue is empty; when no reader is left, whoever would wait for room is told
 * (MPROC_E_NO_READERS). To have that told of processes that were started, but have not come to their first call yet,
 * attach them at the start: mproc_process_start(..., .reads_from = &queue, .reads_from_count = 1).
 *
 * COMMON TO ALL CALLS. `timeout` is in nanoseconds from now on, 0 polls, MPROC_FOREVER waits without limit
 * (mproc/time.h). They may be called from any thread, from a task and in a forked child, which is a process of its own;
 * not in a signal handler. Besides what is listed, those that have a timeout return
 * - `-ETIMEDOUT`: the time is up; with a timeout of 0: there is no message, or no room
 * - `-EINTR`: a signal handler ran while the caller slept; nothing was put or taken
 * and all that return an error code return
 * - `-EINVAL`: an argument is NULL that may not be, or out of range
 * - `-ENOMEM`: the heap is full, or the calling thread could not be registered with it. Nothing was put or taken
 * - `MPROC_E_NOT_INITIALISED`: it is not a queue, or not any more, as far as that can be seen
 * On failure output parameters are untouched, unless it says otherwise.
 *
 * PROGRESS. Putting and getting take no system call as long as nobody has to wait. Those who put hold a lock among
 * themselves for as long as it takes to copy a message of at most 8 KiB, and so do those who get: a process that is
 * stopped (SIGSTOP, a debugger) just there holds up others until it goes on, one that is killed there does not.
 */
#ifndef MPROC_QUEUE_H
#define MPROC_QUEUE_H

#include <mproc/export.h>
#include <mproc/time.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/** A queue in the shared heap. */
typedef struct mproc_queue mproc_queue;

/** A message that lies in the queue's memory: borrowed, or reserved to be written. */
struct mproc_message {
    void *data;          /**< its bytes, aligned to 16 */
    size_t size;         /**< how many there are */
    unsigned deliveries; /**< borrowed: how often it was delivered, this time included; above 1 after a consumer died */
    void *place_;        /**< private */
};

/** What a process does with a queue. */
enum mproc_queue_role {
    MPROC_QUEUE_WRITER = 1,
    MPROC_QUEUE_READER = 2,
    MPROC_QUEUE_WRITER_AND_READER = 3,
};

/** Arguments of mproc_queue_create. Zero means the default. */
struct mproc_queue_arguments {
    size_t size;         /**< sizeof(struct mproc_queue_arguments); the macro fills it */
    size_t messages;     /**< messages that it holds at most; default: no limit */
    size_t bytes;        /**< bytes that its messages have together at most; default: no limit. One message that is
                            larger is let in alone, when the queue is empty */
    bool joinable;       /**< whoever takes a message says when it is done (mproc_queue_task_done, or
                            mproc_queue_release), and mproc_queue_join waits for that */
    bool redeliver;      /**< what a process had taken and was not done with when it ended is delivered again; makes
                            the queue joinable */
    unsigned deliveries; /**< with .redeliver: a message is delivered at most so often; then it counts as lost.
                            Default: no limit */
};

MPROC_BEGIN_DECLARATIONS

/** mproc_queue_create(&queue, .messages = 100, ...) makes a queue in the shared heap.
 *
 * - `queue`: where its address goes. The family owns it until some process calls mproc_queue_free. (One that is killed
 *   in this call, up to its last few instructions, leaves nothing.)
 *
 * Options are the fields of struct mproc_queue_arguments, as designated initialisers. An empty queue takes about
 * 70 KiB of the heap. Does not block.
 *
 * Returns 0, or
 * - `MPROC_E_STRUCT_SIZE`: the arguments' size is 0, or of a newer library
 * - `-EINVAL`: .deliveries without .redeliver
 *
 * Since 0.1. */
#ifndef __cplusplus
#define mproc_queue_create(queue_address, ...)                                                                         \
    mproc_queue_create_with((queue_address), &(const struct mproc_queue_arguments) {                                   \
                                                 .size = sizeof(struct mproc_queue_arguments), __VA_ARGS__ })
#endif

/** The plain function under mproc_queue_create, for C++ and other languages. `arguments` may be NULL: a queue without
 * limits. Since 0.1. */
MPROC_API int mproc_queue_create_with(mproc_queue **queue, const struct mproc_queue_arguments *arguments);

/** Frees a queue and the messages in it.
 *
 * - `queue`: NULL does nothing. Nobody may be using it, or use it afterwards; borrowed and reserved messages go with
 * it. Blocks that were put with mproc_queue_put_block and not taken are freed.
 *
 * A process that is killed in this call leaves what it had not freed yet in the heap until the family ends. Does not
 * block. Returns 0 or an error. Since 0.1. */
MPROC_API int mproc_queue_free(mproc_queue *queue);

/* ---- putting ---- */

/** Puts a copy of `size` bytes, which may be 0 (then `data` may be NULL).
 *
 * Waits for room as long as the queue is full. Returns 0, or
 * - `MPROC_E_CLOSED`: the queue is closed for writing
 * - `MPROC_E_NO_READERS`: it is full, and no process is left that could make room
 *
 * Since 0.1. */
MPROC_API int mproc_queue_put(mproc_queue *queue, const void *data, size_t size, int64_t timeout);

/** Puts copies of several messages, in one go as far as there is room, and wakes as many consumers.
 *
 * - `messages`: `count` pairs of address and size.
 *
 * Waits until the first one is in the queue, and not for the others. Returns how many were put, the first ones, at
 * least 1 (0 if count is 0), or as mproc_queue_put. Since 0.1. */
MPROC_API int mproc_queue_put_many(mproc_queue *queue, const struct iovec *messages, int count, int64_t timeout);

/** Puts a block of the shared heap, without a copy: who takes the message by mproc_queue_get_block has the block
 * itself.
 *
 * - `block`: from mproc_alloc or another of the heap's calls. It is the queue's when the call returns 0, to be freed
 * with the message; on failure it is still the caller's.
 * - `size`: bytes of the message, at most the block's.
 *
 * Returns as mproc_queue_put, or
 * - `MPROC_E_NOT_ALLOCATED`: block is not the address of a block of the heap, or that block is smaller
 *
 * Since 0.1. */
MPROC_API int mproc_queue_put_block(mproc_queue *queue, void *block, size_t size, int64_t timeout);

/** Reserves memory to write a message in place.
 *
 * - `size`: bytes that are to be there.
 * - `message`: .data and .size are filled. The message is the caller's until it calls mproc_queue_commit or
 *   mproc_queue_cancel, from any thread of its process; if the process ends before that, the memory is used again.
 *
 * Does not block: a reserved message is not in the queue yet, and has no place in its order. Returns 0, or
 * `MPROC_E_CLOSED`. Since 0.1. */
MPROC_API int mproc_queue_reserve(mproc_queue *queue, size_t size, struct mproc_message *message);

/** Puts a reserved message, without a copy.
 *
 * - `message`: .size may have been made smaller.
 *
 * Waits for room as mproc_queue_put, and returns the same; the message is the caller's no more when the call returns 0,
 * and still is otherwise. Since 0.1. */
MPROC_API int mproc_queue_commit(mproc_queue *queue, struct mproc_message *message, int64_t timeout);

/** Gives a reserved message back that is not to be put. Does not block. Returns 0 or -EINVAL. Since 0.1. */
MPROC_API int mproc_queue_cancel(mproc_queue *queue, struct mproc_message *message);

/* ---- getting ---- */

/** Takes a message and copies it.
 *
 * - `buffer`: memory of `capacity` bytes; may be NULL if capacity is 0.
 * - `size`: gets the message's size in bytes; may be NULL.
 *
 * Waits for a message as long as the queue is empty. Returns 0, or
 * - `-EMSGSIZE`: the message has more than `capacity` bytes. *size gets how many, and the message stays where it was
 * - `MPROC_E_CLOSED`: the queue is empty and closed. With .redeliver, one who is done with all that it took waits until
 *   others are, too, as theirs may come back; one who is not is told at once
 * - `MPROC_E_NO_WRITERS`: it is empty, and no process is left that could put
 *
 * Since 0.1. */
MPROC_API int mproc_queue_get(mproc_queue *queue, void *buffer, size_t capacity, size_t *size, int64_t timeout);

/** Takes several messages and copies them, as many as there are.
 *
 * - `buffers`: `count` pairs of address and capacity. For each message taken, .iov_len becomes its size.
 *
 * Waits until it has the first one, and not for others. Returns how many were taken, at least 1 (0 if count is 0), or
 * as mproc_queue_get: -EMSGSIZE if the first message does not fit, and then buffers[0].iov_len is the size needed; if
 * a later one does not fit, the ones before are taken. Since 0.1. */
MPROC_API int mproc_queue_get_many(mproc_queue *queue, struct iovec *buffers, int count, int64_t timeout);

/** Takes a message as a block of the shared heap: the very one that was put by mproc_queue_put_block; otherwise, and
 * from a joinable queue, a new one that holds a copy.
 *
 * - `block`: gets its address. It is the caller's, who frees it with mproc_free.
 * - `size`: gets the message's size in bytes; may be NULL.
 *
 * Waits and returns as mproc_queue_get, without -EMSGSIZE. Since 0.1. */
MPROC_API int mproc_queue_get_block(mproc_queue *queue, void **block, size_t *size, int64_t timeout);

/** Takes a message and leaves it where it is, without a copy.
 *
 * - `message`: .data, .size and .deliveries are filled. The bytes are the caller's to read and to write until
 *   mproc_queue_release, which any thread of its process may call. If the process ends before that, the message is gone
 *   with it, or delivered again (.redeliver).
 *
 * Waits and returns as mproc_queue_get, without -EMSGSIZE. Since 0.1. */
MPROC_API int mproc_queue_borrow(mproc_queue *queue, struct mproc_message *message, int64_t timeout);

/** Gives a borrowed message back; in a joinable queue, it is done with that. Does not block. Returns 0, or
 *
 * - `-EINVAL`: it was not borrowed by this process, or was released already
 *
 * Since 0.1. */
MPROC_API int mproc_queue_release(mproc_queue *queue, struct mproc_message *message);

/* ---- done ---- */

/** Says that the calling process is done with a message that it took by get, get_many or get_block from a joinable
 * queue: the one that it took first of those it is not done with.
 *
 * Does not block. Returns 0, or
 * - `MPROC_E_RELEASED_TOO_OFTEN`: it is done with all that it took
 * - `-EINVAL`: also if the queue is not joinable
 *
 * Since 0.1. */
MPROC_API int mproc_queue_task_done(mproc_queue *queue);

/** Waits until the queue is empty and all that was taken is done.
 *
 * Returns 0, or
 * - `MPROC_E_MESSAGES_LOST`: so it is, but since the last call that said so messages were lost: those who had taken
 *   them ended before they were done, and the queue was not made with .redeliver, or .deliveries is used up
 * - `MPROC_E_NO_READERS`: messages are left, and no process that could take them
 * - `-EINVAL`: also if the queue is not joinable
 *
 * Since 0.1. */
MPROC_API int mproc_queue_join(mproc_queue *queue, int64_t timeout);

/* ---- looking ---- */

/** Number of messages that can be taken. A snapshot: others put and get meanwhile, so the number may be another one
 * when it is looked at; where one process alone gets, it can rely on at least so many. 0 for what is not a queue. Since
 * 0.1.
 */
MPROC_API size_t mproc_queue_size(const mproc_queue *queue);

/** Bytes of the messages that can be taken. As mproc_queue_size. Since 0.1. */
MPROC_API size_t mproc_queue_bytes(const mproc_queue *queue);

/** True if there was no message to take. As mproc_queue_size. Since 0.1. */
MPROC_API bool mproc_queue_is_empty(const mproc_queue *queue);

/** True if a message of no bytes would have had to wait for room. As mproc_queue_size. Since 0.1. */
MPROC_API bool mproc_queue_is_full(const mproc_queue *queue);

/** Messages that were lost with those who had taken them (see mproc_queue_join), from the beginning on. Since 0.1. */
MPROC_API size_t mproc_queue_lost(const mproc_queue *queue);

/* ---- ending ---- */

/** Closes a queue for writing, for all processes: putting fails from now on, and whoever gets is told once the queue is
 * empty. Closing again does nothing. Does not block. Returns 0 or an error. Since 0.1. */
MPROC_API int mproc_queue_close(mproc_queue *queue);

/** True if the queue is closed for writing. Since 0.1. */
MPROC_API bool mproc_queue_is_closed(const mproc_queue *queue);

/** Makes the calling process a writer or a reader, or both, without putting or getting. Returns 0 or an error.
 * Since 0.1. */
MPROC_API int mproc_queue_attach(mproc_queue *queue, enum mproc_queue_role role);

/** Says that the calling process puts, or gets, no more; nor hands the queue to a process that would. The last one
 * to do so leaves the others told. If it does put or get again, it is a writer or reader again. Does not block. Returns
 * 0 or an error. Since 0.1. */
MPROC_API int mproc_queue_detach(mproc_queue *queue, enum mproc_queue_role role);

/* ---- event loops ---- */

/** A descriptor that polls readable (POLLIN) when there may be something to do for that role: for a reader, a message
 * to take, or that none will come; for a writer, room. For poll, epoll and event loops:
 *
 *     when it is readable, get with a timeout of 0 until the answer is -ETIMEDOUT
 *
 * That answer makes it unreadable again. It may turn readable without cause, ten times a second if the loop is idle: a
 * process that was killed in the midst of telling of a message is found out that way.
 *
 * - `role`: MPROC_QUEUE_READER or MPROC_QUEUE_WRITER.
 *
 * The descriptor is the library's: do not close it. It is good in this process, until mproc_queue_fd_close,
 * or mproc_queue_free in this process. Costs nothing as long as nobody has asked for it; the same one is returned to
 * whoever asks again. Processes in another network namespace cannot tell, so that it takes them that tenth of a second.
 *
 * Returns the descriptor, or
 * - `-EMFILE`, `-ENFILE`: no descriptor left: it takes three
 *
 * Since 0.1. */
MPROC_API int mproc_queue_fd(mproc_queue *queue, enum mproc_queue_role role);

/** Closes the descriptor of that role, if this process has one. Returns 0 or an error. Since 0.1. */
MPROC_API int mproc_queue_fd_close(mproc_queue *queue, enum mproc_queue_role role);

MPROC_END_DECLARATIONS

#endif
