/* Fetches many pages from a slow server: one after the other, with processes, with threads. The other half of the
 * tutorial: threads suit waiting. SPDX-License-Identifier: MIT
 *
 *     fetch_many [-n pages] [-w workers]
 *
 * The server is a process that this program starts, and takes 100 ms for each page. libcurl fetches the pages, as it
 * does for most programs in C.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <mproc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DELAY_MS = 100, PAGES_MAX = 1000, WORKERS_MAX = 200 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

/* ---- the server */

static void answer(int client)
{
    char request[1024] = "", reply[200], body[50];
    int page = -1;
    if (recv(client, request, sizeof request - 1, 0) > 0) /* one so small comes in one piece */
        sscanf(request, "GET /%d ", &page);
    int length = snprintf(body, sizeof body, "This is page %d.\n", page);
    snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", length, body);
    send(client, reply, strlen(reply), MSG_NOSIGNAL);
    close(client);
}

/* Keeps any number of clients waiting at a time, as slow servers do. */
static int serve(const int *listener)
{
    struct pollfd fds[WORKERS_MAX + 1] = { { .fd = *listener, .events = POLLIN } };
    double due[WORKERS_MAX + 1] = { 0 }; /* when to answer; 0: there is no request yet */
    nfds_t count = 1;
    while (poll(fds, count, 5) >= 0) {
        for (nfds_t i = count - 1; i > 0; i--) {
            if (due[i] == 0 && fds[i].revents) {
                due[i] = now() + DELAY_MS;
                fds[i].events = 0;
            } else if (due[i] > 0 && now() >= due[i]) {
                answer(fds[i].fd);
                count--;
                fds[i] = fds[count];
                due[i] = due[count];
            }
        }
        if (fds[0].revents && count <= WORKERS_MAX) {
            due[count] = 0;
            fds[count++] = (struct pollfd) { .fd = accept(*listener, NULL, NULL), .events = POLLIN };
        }
    }
    return 1;
}
MPROC_PROCESS(serve);

/* Returns its port, which the kernel chooses, or 0. */
static int start_server(mproc_process **server)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, WORKERS_MAX) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        mproc_process_start(server, serve, &listener, .keep_fds = &listener, .keep_fds_count = 1) != 0)
        return 0;
    close(listener); /* the server has its own copy */
    return ntohs(address.sin_port);
}

/* ---- the client */

struct page {
    char url[64];
};

struct body {
    char text[64];
    size_t size;
};

static size_t take(char *data, size_t one, size_t size, void *context)
{
    struct body *body = context;
    if (size >= sizeof body->text - body->size)
        return 0 * one; /* curl gives up */
    memcpy(body->text + body->size, data, size);
    body->size += size;
    return size;
}

static int fetch(const struct page *page, struct body *body)
{
    CURL *curl = curl_easy_init();
    *body = (struct body) { .size = 0 };
    curl_easy_setopt(curl, CURLOPT_URL, page->url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* there may be threads */
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    return code ? mproc_task_fail((int)code, "%s: %s", page->url, curl_easy_strerror(code)) : 0;
}
MPROC_TASK(fetch);

/* ---- the comparison */

static struct page pages[PAGES_MAX];
static struct body bodies[PAGES_MAX];

/* Returns how many pages did not come, or came wrong. */
static int compare(const char *title, enum mproc_backend backend, int workers, int n)
{
    static double slowest;
    struct mproc_error error = { .message = "" };
    mproc_pool *pool;
    int wrong = 0;
    memset(bodies, 0, sizeof bodies);

    double start = now(), opened = start, fetched = start;
    int err = mproc_pool_open(&pool, .backend = backend, .workers = workers, .error = &error);
    if (err == 0) {
        opened = now();
        err = mproc_map(pool, fetch, pages, bodies, (size_t)n, .error = &error);
        fetched = now();
        mproc_pool_close(pool);
    }
    double end = now();
    if (backend == MPROC_SERIAL)
        slowest = end - start;
    for (int i = 0; i < n; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "This is page %d.\n", i);
        wrong += strcmp(bodies[i].text, expected) != 0;
    }
    printf("%-20s %8d %11.1f %11.1f %9.1f %7d  %s\n", title, workers, opened - start, fetched - opened,
           slowest / (end - start), n - wrong, error.message);
    return err < 0 ? n : wrong;
}

int main(int argc, char **argv)
{
    int n = 50, workers = 50, option;
    while ((option = getopt(argc, argv, "n:w:")) != -1 && option != '?')
        *(option == 'n' ? &n : &workers) = atoi(optarg);
    if (option != -1 || optind != argc || n < 1 || n > PAGES_MAX || workers < 1 || workers > WORKERS_MAX) {
        fprintf(stderr, "usage: fetch_many [-n pages, up to %d] [-w workers, up to %d]\n", PAGES_MAX, WORKERS_MAX);
        return 2;
    }
    mproc_process *server = NULL;
    int port = start_server(&server);
    if (port == 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        fprintf(stderr, "fetch_many: there is no server, or no curl\n");
        return 1;
    }
    for (int i = 0; i < n; i++)
        snprintf(pages[i].url, sizeof pages[i].url, "http://127.0.0.1:%d/%d", port, i);

    printf("%d pages, each of which takes %d ms, on %d CPUs\n\n", n, DELAY_MS, mproc_cpu_count());
    printf("%-20s %8s %11s %11s %9s %7s\n", "", "workers", "opening ms", "fetching ms", "speed-up", "pages");
    int wrong = compare("one after the other", MPROC_SERIAL, 1, n);
    wrong += compare("processes", MPROC_PROCESSES, workers, n); /* before there are threads, so that it may fork */
    wrong += compare("threads", MPROC_THREADS, workers, n);
    printf("\nWho waits needs no CPU: let many more workers wait than there are CPUs.\n"
           "Threads wait as well as processes do, and are cheaper to have.\n");

    mproc_process_terminate(server);
    mproc_process_join(server, MPROC_FOREVER);
    mproc_process_close(server);
    curl_global_cleanup();
    return wrong != 0;
}
