/* A queue, a process and an event in a loop around epoll. SPDX-License-Identifier: MIT
 *
 * A process counts to five, a number every 50 ms, sets an event, and ends. The loop sees each of these, and nothing
 * blocks.
 */
#include <errno.h>
#include <inttypes.h>
#include <mproc.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

struct count {
    mproc_queue *numbers;
    mproc_event half_way;
};

static int count_to_five(struct count *count)
{
    for (int64_t i = 1; i <= 5; i++) {
        usleep(50000);
        int err = mproc_queue_put(count->numbers, &i, sizeof i, MPROC_FOREVER);
        if (err)
            return mproc_task_fail(1, "%s", mproc_strerror(err));
        if (i == 3)
            mproc_event_set(&count->half_way);
    }
    return 0;
}
MPROC_PROCESS(count_to_five);

/* Readable means: look, until there is nothing. */
static void take_numbers(mproc_queue *numbers)
{
    int64_t number;
    while (mproc_queue_get(numbers, &number, sizeof number, NULL, 0) == 0)
        printf("number %" PRId64 "\n", number);
}

static void look_at_event(mproc_event *event)
{
    if (mproc_event_wait(event, 0) != 0)
        return;
    printf("half way\n");
    mproc_event_clear(event);
}

static int add(int epoll, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    return fd < 0 ? fd : epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int run(struct count *count, mproc_process *process)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int numbers = mproc_queue_fd(count->numbers, MPROC_QUEUE_READER), half_way = mproc_event_fd(&count->half_way);
    int end = mproc_process_fd(process);
    int err = add(epoll, numbers);
    if (!err)
        err = add(epoll, half_way);
    if (!err)
        err = add(epoll, end);
    for (int ended = 0; !ended && !err;) {
        struct epoll_event events[3];
        int ready = epoll_wait(epoll, events, 3, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == numbers)
                take_numbers(count->numbers);
            else if (events[i].data.fd == half_way)
                look_at_event(&count->half_way);
            else
                ended = 1;
        }
    }
    take_numbers(count->numbers); /* what came last may have come with the end */
    look_at_event(&count->half_way);
    mproc_event_fd_close(&count->half_way);
    close(epoll);
    return err;
}

int main(void)
{
    struct count *count = mproc_calloc(1, sizeof *count);
    mproc_process *process = NULL;
    int err = count ? mproc_queue_create(&count->numbers, .messages = 10) : -ENOMEM;
    if (!err)
        err = mproc_process_start(&process, count_to_five, count);
    if (!err)
        err = run(count, process);
    if (err) {
        fprintf(stderr, "event_loop_epoll: %s\n", mproc_strerror(err));
        return 1;
    }
    mproc_process_join(process, MPROC_FOREVER);
    printf("the process has ended\n");
    mproc_process_close(process);
    mproc_queue_free(count->numbers);
    mproc_free(count);
    return 0;
}
