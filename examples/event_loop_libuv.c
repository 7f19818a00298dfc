/* A queue, a connection and a process in a loop of libuv. SPDX-License-Identifier: MIT
 *
 * A process sends five numbers through a queue and five over a connection, in turn, and ends.
 */
#include <errno.h>
#include <mproc.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

struct job {
    mproc_queue *numbers;
    int fd; /* of the connection */
};

static int send_ten(struct job *job)
{
    mproc_connection *connection = NULL;
    int err = mproc_connection_open(&connection, job->fd);
    for (int i = 1; i <= 10 && !err; i++) {
        usleep(20000);
        err = i % 2 ? mproc_queue_put(job->numbers, &i, sizeof i, MPROC_FOREVER)
                    : mproc_connection_send(connection, &i, sizeof i, MPROC_FOREVER);
    }
    return err ? mproc_task_fail(1, "%s", mproc_strerror(err)) : 0;
}
MPROC_PROCESS(send_ten);

static uv_poll_t queue_poll, connection_poll, process_poll;

/* Readable means: look, until there is nothing. */
static void take_from_queue(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    int number;
    while (mproc_queue_get(poll->data, &number, sizeof number, NULL, 0) == 0)
        printf("from the queue %d\n", number);
}

static void take_from_connection(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    int number, err;
    while ((err = mproc_connection_receive(poll->data, &number, sizeof number, NULL, 0)) == 0)
        printf("from the connection %d\n", number);
    if (err != -ETIMEDOUT)
        uv_poll_stop(poll); /* the other side has closed it */
}

static void end_loop(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    take_from_queue(&queue_poll, 0, UV_READABLE); /* what came last may have come with the end */
    take_from_connection(&connection_poll, 0, UV_READABLE);
    uv_stop(poll->loop);
}

static int watch(uv_loop_t *loop, uv_poll_t *poll, int fd, void *data, uv_poll_cb call)
{
    if (fd < 0)
        return fd;
    int err = uv_poll_init(loop, poll, fd);
    poll->data = data;
    return err ? err : uv_poll_start(poll, UV_READABLE, call);
}

static int run(mproc_queue *numbers, mproc_connection *connection, mproc_process *process)
{
    uv_loop_t loop;
    int err = uv_loop_init(&loop);
    if (!err)
        err = watch(&loop, &queue_poll, mproc_queue_fd(numbers, MPROC_QUEUE_READER), numbers, take_from_queue);
    if (!err)
        err = watch(&loop, &connection_poll, mproc_connection_fd(connection), connection, take_from_connection);
    if (!err)
        err = watch(&loop, &process_poll, mproc_process_fd(process), process, end_loop);
    if (err)
        return err;
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&queue_poll, NULL);
    uv_close((uv_handle_t *)&connection_poll, NULL);
    uv_close((uv_handle_t *)&process_poll, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

int main(void)
{
    mproc_connection *here = NULL, *there = NULL;
    mproc_process *process = NULL;
    struct job job = { .numbers = NULL };
    int err = mproc_queue_create(&job.numbers, .messages = 10);
    if (!err)
        err = mproc_pipe(&here, &there);
    job.fd = err ? -1 : mproc_connection_fd(there);
    if (!err)
        err = mproc_process_start(&process, send_ten, &job, .keep_fds = &job.fd, .keep_fds_count = 1);
    if (!err)
        err = mproc_connection_close(there); /* the process has its own copy */
    if (!err)
        err = run(job.numbers, here, process);
    if (err) {
        fprintf(stderr, "event_loop_libuv: %s\n", err < 0 && err > -4096 ? uv_strerror(err) : mproc_strerror(err));
        return 1;
    }
    mproc_process_join(process, MPROC_FOREVER);
    printf("the process has ended\n");
    mproc_process_close(process);
    mproc_connection_close(here);
    mproc_queue_free(job.numbers);
    return 0;
}
