/* Stands between a client and a server, and breaks what they say at a chosen place. SPDX-License-Identifier: MIT */
#include "proxy.h"

#include "harness.h"
#include "servers.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOK_MS = 2, PIECE = 64 << 10 };

static struct sockaddr_in address_of(int port)
{
    return (struct sockaddr_in) { .sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port) };
}

static void break_all(struct proxy *proxy)
{
    for (; proxy->count > 0; proxy->count--) {
        close(proxy->clients[proxy->count - 1]);
        close(proxy->servers[proxy->count - 1]);
    }
    atomic_store(&proxy->silent, -1);
    atomic_store(&proxy->breaks_at, -1);
    atomic_store(&proxy->broken, 0);
}

static void take_link(struct proxy *proxy)
{
    struct sockaddr_in address = address_of(proxy->to);
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0 || proxy->count == PROXY_LINKS_MOST ||
        connect(server, (struct sockaddr *)&address, sizeof address) != 0) {
        close(client);
        close(server);
        return;
    }
    proxy->clients[proxy->count] = client;
    proxy->servers[proxy->count++] = server;
}

/* Returns false if it has ended, or is to. */
static bool pass_on(struct proxy *proxy, int link, bool is_answer)
{
    static char piece[PIECE];
    int from = is_answer ? proxy->servers[link] : proxy->clients[link];
    int to = is_answer ? proxy->clients[link] : proxy->servers[link];
    ssize_t size = recv(from, piece, sizeof piece, 0);
    if (size <= 0 || (is_answer && atomic_load(&proxy->breaks_at) == link))
        return false;
    if (is_answer && atomic_load(&proxy->silent) == link)
        return true;
    for (ssize_t done = 0, count; done < size; done += count)
        if ((count = send(to, piece + done, (size_t)(size - done), MSG_NOSIGNAL)) <= 0)
            return false;
    return true;
}

/* Where one link ends, all do: it was the client that wanted it, or a test. */
static void *run(void *argument)
{
    struct proxy *proxy = argument;
    while (!atomic_load(&proxy->ending)) {
        struct pollfd watched[1 + 2 * PROXY_LINKS_MOST] = { { .fd = proxy->listener, .events = POLLIN } };
        int count = proxy->count;
        for (int i = 0; i < 2 * count; i++)
            watched[1 + i] =
                (struct pollfd) { .fd = i % 2 ? proxy->servers[i / 2] : proxy->clients[i / 2], .events = POLLIN };
        bool breaks = poll(watched, (nfds_t)(1 + 2 * count), LOOK_MS) < 0;
        for (int i = 0; i < 2 * count && !breaks; i++)
            breaks = watched[1 + i].revents && !pass_on(proxy, i / 2, i % 2);
        if (breaks || atomic_load(&proxy->broken))
            break_all(proxy);
        else if (watched[0].revents)
            take_link(proxy);
    }
    break_all(proxy);
    return NULL;
}

void proxy_start(struct proxy *proxy, int to)
{
    int on = 1;
    *proxy = (struct proxy) { .port = port_find(), .to = to, .silent = -1, .breaks_at = -1 };
    struct sockaddr_in address = address_of(proxy->port);
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(proxy->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(proxy->listener, PROXY_LINKS_MOST), 0);
    assert_int_equal(pthread_create(&proxy->thread, NULL, run, proxy), 0);
}

void proxy_silence(struct proxy *proxy, int link)
{
    atomic_store(&proxy->silent, link);
}

void proxy_break_at_answer(struct proxy *proxy, int link)
{
    atomic_store(&proxy->breaks_at, link);
}

void proxy_break(struct proxy *proxy)
{
    atomic_store(&proxy->broken, 1);
    while (atomic_load(&proxy->broken))
        harness_sleep_ms(1);
}

void proxy_end(struct proxy *proxy)
{
    atomic_store(&proxy->ending, 1);
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
}
