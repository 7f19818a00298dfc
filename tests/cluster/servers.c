/* Redis servers of a test. SPDX-License-Identifier: MIT */
#include "servers.h"

#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXTS = 8, TEXT_SIZE = 256 };

static char *next_text(void)
{
    static char texts[TEXTS][TEXT_SIZE];
    static int last;
    return texts[last++ % TEXTS];
}

/* ---- ports */

static struct sockaddr_in address_of(int port)
{
    return (struct sockaddr_in) { .sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

int port_find(void)
{
    struct sockaddr_in address = address_of(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* True if what listens there says anything but that it is still loading, or says nothing since it speaks TLS. */
static bool answers(int port, bool speaks_tls)
{
    struct sockaddr_in address = address_of(port);
    char reply[64] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (good && !speaks_tls) {
        struct pollfd entry = { .fd = fd, .events = POLLIN };
        good = send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && poll(&entry, 1, 1000) == 1 &&
               recv(fd, reply, sizeof reply - 1, 0) > 0 && strncmp(reply, "-LOADING", 8) != 0;
    }
    close(fd);
    return good;
}

/* ---- programs */

/* They end with the test. */
static int run(const char *const *arguments, const char *folder)
{
    int pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    if (chdir(folder) == 0)
        execvp(arguments[0], (char *const *)(uintptr_t)arguments);
    _exit(127);
}

static int run_to_end(const char *const *arguments, const char *folder)
{
    int status, pid = run(arguments, folder);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int run_script(const char *script, const char *folder)
{
    const char *const arguments[] = { "sh", "-c", script, NULL };
    return run_to_end(arguments, folder);
}

/* ---- the server */

const char *server_file(const struct server *server, const char *name)
{
    char *path = next_text();
    snprintf(path, TEXT_SIZE, "%s/%s", server->folder, name);
    return path;
}

const char *server_url_as(const struct server *server, const char *user)
{
    char *url = next_text();
    int scheme = (int)(strstr(server->url, "://") + 3 - server->url);
    snprintf(url, TEXT_SIZE, "%.*s%s@%s", scheme, server->url, user, server->url + scheme);
    return url;
}

static void name_url(struct server *server, const char *scheme)
{
    snprintf(server->url, sizeof server->url, "%s://127.0.0.1:%d/farm", scheme, server->port);
}

void server_make(struct server *server)
{
    *server = (struct server) { .folder = "/tmp/mproc-server-XXXXXX" };
    assert_non_null(mkdtemp(server->folder));
    server->port = port_find();
    name_url(server, "redis");
}

void server_start_again(struct server *server)
{
    const char *const arguments[] = { "redis-server", server_file(server, "conf"), NULL };
    bool speaks_tls = strncmp(server->url, "rediss", 6) == 0;
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    server->pid = run(arguments, server->folder);
    while (!answers(server->port, speaks_tls)) {
        if (harness_now() > deadline || waitpid(server->pid, NULL, WNOHANG) != 0)
            fail_msg("redis-server on port %d does not start", server->port);
        harness_sleep_ms(10);
    }
}

void server_start(struct server *server, const char *format, ...)
{
    va_list arguments;
    FILE *file = fopen(server_file(server, "conf"), "we");
    assert_non_null(file);
    fprintf(file, "bind 127.0.0.1\nport %d\ndir %s\nlogfile %s/log\nsave \"\"\n", server->port, server->folder,
            server->folder);
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fclose(file);
    server_start_again(server);
}

void server_start_tls(struct server *server, const char *more)
{
    name_url(server, "rediss");
    server_start(server,
                 "port 0\ntls-port %d\ntls-ca-cert-file ca.crt\ntls-cert-file server.crt\ntls-key-file server.key\n%s",
                 server->port, more);
}

void server_kill(struct server *server)
{
    kill(server->pid, SIGKILL);
    assert_int_equal(waitpid(server->pid, NULL, 0), server->pid);
    server->pid = 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

void server_end(struct server *server)
{
    if (server->pid)
        server_kill(server);
    assert_int_equal(nftw(server->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

void server_command(const struct server *server, const char *command)
{
    char line[TEXT_SIZE];
    snprintf(line, sizeof line, "exec redis-cli -p %d %s", server->port, command);
    assert_int_equal(run_script(line, server->folder), 0);
}

int server_begin_command(const struct server *server, const char *command)
{
    char line[TEXT_SIZE];
    const char *const arguments[] = { "sh", "-c", line, NULL };
    snprintf(line, sizeof line, "exec redis-cli -p %d %s", server->port, command);
    return run(arguments, server->folder);
}

void server_wait_says(const struct server *server, const char *command, const char *pattern)
{
    char line[3 * TEXT_SIZE];
    double deadline = harness_now() + HARNESS_PATIENCE / 1000.0;
    snprintf(line, sizeof line, "TASKS=$(redis-cli -p %d keys '*:tasks'); redis-cli -p %d %s | grep -q '%s'",
             server->port, server->port, command, pattern);
    while (run_script(line, server->folder) != 0) {
        if (harness_now() > deadline)
            fail_msg("the server does not say '%s' to '%s'", pattern, command);
        harness_sleep_ms(5);
    }
}

bool server_has_no(const struct server *server, const char *pattern)
{
    char line[TEXT_SIZE];
    snprintf(line, sizeof line, "redis-cli -p %d keys '%s' | grep -q .", server->port, pattern);
    return run_script(line, server->folder) != 0;
}

/* ---- certificates */

#define OPENSSL "openssl "
#define NEW_KEY " -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
#define AUTHORITY(name, subject)                                                                                       \
    OPENSSL "req -x509 -days 30" NEW_KEY "-keyout " name ".key -out " name ".crt -subj /CN=" subject "\n"
#define SIGNED(name, extension)                                                                                        \
    OPENSSL "req" NEW_KEY "-keyout " name ".key -out " name ".csr -subj /CN=" name "\n"                                \
            "echo " extension " >" name ".ext\n" OPENSSL "x509 -req -days 30 -in " name ".csr -CA ca.crt -CAkey "      \
            "ca.key -CAcreateserial -extfile " name ".ext -out " name ".crt\n"

void certificates_make(const struct server *server)
{
    static const char script[] = "exec 2>openssl.log\nset -e\n" AUTHORITY("ca", "ours") AUTHORITY("other", "theirs")
        SIGNED("server", "subjectAltName=IP:127.0.0.1") SIGNED("client", "extendedKeyUsage=clientAuth");
    assert_int_equal(run_script(script, server->folder), 0);
}
