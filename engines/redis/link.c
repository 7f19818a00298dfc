/* A stream of bytes to the server, with TLS or without. SPDX-License-Identifier: MIT */
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <mproc/error.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int64_t link_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* Returns 0 or a negative error. */
static int wait_for(const struct link *link, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - link_now();
        if (left <= 0)
            return -ETIMEDOUT;
        struct pollfd watched = { .fd = link->fd, .events = events };
        struct timespec time = { left / 1000000000, left % 1000000000 };
        int count = ppoll(&watched, 1, &time, NULL);
        if (count > 0)
            return 0;
        if (count < 0 && errno != EINTR)
            return -errno;
    }
}

/* ---- TCP */

static int connect_to(struct link *link, const struct addrinfo *info, int64_t deadline)
{
    link->fd = socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, info->ai_protocol);
    if (link->fd < 0)
        return -errno;
    int err = connect(link->fd, info->ai_addr, info->ai_addrlen) == 0 ? 0 : -errno;
    if (err == -EINPROGRESS) {
        socklen_t size = sizeof err;
        err = wait_for(link, POLLOUT, deadline);
        if (!err && getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &err, &size) == 0)
            err = -err;
    }
    if (err) {
        close(link->fd);
        link->fd = -1;
    }
    return err;
}

/* So that one that is gone without a word is noticed also while nothing is to be sent. */
static void set_up(const struct link *link, const struct mproc_engine_options *options)
{
    int on = 1, seconds = (int)(options->lease / 1000000000), idle = seconds > 1 ? seconds : 1, interval = 1, times = 5;
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(link->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(link->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(link->fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
}

static int open_tcp(struct link *link, const struct address *address, int64_t deadline, char *message, size_t size)
{
    struct addrinfo *found, hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    int failure = getaddrinfo(address->host, address->port, &hints, &found);
    if (failure) {
        snprintf(message, size, "the server %s is not found: %s", address->host, gai_strerror(failure));
        return -EHOSTUNREACH;
    }
    int err = -EHOSTUNREACH;
    for (const struct addrinfo *info = found; info && err; info = info->ai_next)
        err = connect_to(link, info, deadline);
    freeaddrinfo(found);
    if (err)
        snprintf(message, size, "the server %s:%s cannot be reached: %s", address->host, address->port, strerror(-err));
    return err;
}

/* ---- TLS */

static void explain_tls(char *message, size_t size, const char *what)
{
    char text[160] = "";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, text, sizeof text);
    snprintf(message, size, "%s%s%s", what, text[0] ? ": " : "", text);
    ERR_clear_error();
}

static bool load_files(SSL_CTX *context, const struct mproc_engine_options *options, char *message, size_t size)
{
    char what[200];
    if (options->ca_file ? SSL_CTX_load_verify_locations(context, options->ca_file, NULL) != 1
                         : SSL_CTX_set_default_verify_paths(context) != 1) {
        snprintf(what, sizeof what, "the certificates in '%.120s' cannot be read",
                 options->ca_file ? options->ca_file : "");
        explain_tls(message, size, what);
        return false;
    }
    if (options->certificate_file &&
        (SSL_CTX_use_certificate_chain_file(context, options->certificate_file) != 1 ||
         SSL_CTX_use_PrivateKey_file(context, options->key_file ? options->key_file : options->certificate_file,
                                     SSL_FILETYPE_PEM) != 1)) {
        snprintf(what, sizeof what, "the client's certificate '%.100s' or its key cannot be read",
                 options->certificate_file);
        explain_tls(message, size, what);
        return false;
    }
    return true;
}

static bool expect_name(SSL *tls, const char *host)
{
    unsigned char binary[sizeof(struct in6_addr)];
    bool is_address = inet_pton(AF_INET, host, binary) == 1 || inet_pton(AF_INET6, host, binary) == 1;
    if (is_address)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host) == 1;
    return SSL_set1_host(tls, host) == 1 && SSL_set_tlsext_host_name(tls, host) == 1;
}

/* OpenSSL's own socket BIO would raise SIGPIPE. */
static int send_quietly(BIO *bio, const char *data, int size)
{
    ssize_t count = send((int)(intptr_t)BIO_get_data(bio), data, (size_t)size, MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)count;
}

static int receive(BIO *bio, char *data, int size)
{
    ssize_t count = recv((int)(intptr_t)BIO_get_data(bio), data, (size_t)size, 0);
    BIO_clear_retry_flags(bio);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)count;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *quiet_method;
static pthread_once_t quiet_once = PTHREAD_ONCE_INIT;

static void make_quiet_method(void)
{
    quiet_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "mproc");
    if (quiet_method) {
        BIO_meth_set_write(quiet_method, send_quietly);
        BIO_meth_set_read(quiet_method, receive);
        BIO_meth_set_ctrl(quiet_method, control);
    }
}

static bool set_stream(const struct link *link)
{
    pthread_once(&quiet_once, make_quiet_method);
    BIO *bio = quiet_method ? BIO_new(quiet_method) : NULL;
    if (!bio)
        return false;
    BIO_set_data(bio, (void *)(intptr_t)link->fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(link->tls, bio, bio);
    return true;
}

static int shake_hands(struct link *link, int64_t deadline, char *message, size_t size)
{
    for (;;) {
        int result = SSL_connect(link->tls), error = SSL_get_error(link->tls, result);
        if (result == 1)
            return 0;
        int err = error == SSL_ERROR_WANT_READ    ? wait_for(link, POLLIN, deadline)
                  : error == SSL_ERROR_WANT_WRITE ? wait_for(link, POLLOUT, deadline)
                                                  : MPROC_E_SERVER_REFUSES;
        if (err == 0)
            continue;
        long verdict = SSL_get_verify_result(link->tls);
        if (verdict != X509_V_OK)
            snprintf(message, size, "the server's certificate is not trusted: %s",
                     X509_verify_cert_error_string(verdict));
        else
            explain_tls(message, size, err == MPROC_E_SERVER_REFUSES ? "no TLS with the server" : "TLS: no answer");
        if (error == SSL_ERROR_SYSCALL && verdict == X509_V_OK)
            err = -ECONNRESET;
        return err;
    }
}

static int open_tls(struct link *link, const struct address *address, const struct mproc_engine_options *options,
                    int64_t deadline, char *message, size_t size)
{
    ERR_clear_error();
    link->context = SSL_CTX_new(TLS_client_method());
    if (!link->context)
        return -ENOMEM;
    SSL_CTX_set_min_proto_version(link->context, TLS1_2_VERSION);
    SSL_CTX_set_mode(link->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(link->context, SSL_VERIFY_PEER, NULL);
    if (!load_files(link->context, options, message, size))
        return MPROC_E_SERVER_REFUSES;
    link->tls = SSL_new(link->context);
    if (!link->tls || !expect_name(link->tls, address->host) || !set_stream(link))
        return -ENOMEM;
    return shake_hands(link, deadline, message, size);
}

/* ---- both */

int link_open(struct link *link, const struct address *address, const struct mproc_engine_options *options,
              int64_t deadline, char *message, size_t size)
{
    *link = (struct link) { .fd = -1 };
    int err = open_tcp(link, address, deadline, message, size);
    if (err)
        return err;
    set_up(link, options);
    if (address->tls)
        err = open_tls(link, address, options, deadline, message, size);
    if (err)
        link_close(link);
    return err;
}

void link_close(struct link *link)
{
    if (link->tls)
        SSL_free(link->tls);
    if (link->context)
        SSL_CTX_free(link->context);
    if (link->fd >= 0)
        close(link->fd);
    *link = (struct link) { .fd = -1 };
}

/* With TLS 1.3 the server looks at the client's certificate when the client has been connected for long. */
static bool says_certificate(unsigned long code)
{
    switch (ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_CERTIFICATE_REQUIRED: return true;
    default: return false;
    }
}

/* What a call of OpenSSL waits for. Returns 0 or a negative error; MPROC_E_SERVER_REFUSES: the server does not like the
 * client's certificate, or that there is none. */
static int wait_for_tls(struct link *link, int result, int64_t deadline)
{
    int error = SSL_get_error(link->tls, result);
    unsigned long code = error == SSL_ERROR_SSL ? ERR_peek_error() : 0;
    ERR_clear_error();
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return wait_for(link, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline);
    return code && says_certificate(code) ? MPROC_E_SERVER_REFUSES : -ECONNRESET;
}

/* The stream has ended for writing: the server may have said why. */
static int why_it_ended(struct link *link)
{
    char byte;
    int count = SSL_read(link->tls, &byte, 1);
    int err = count > 0 ? 0 : wait_for_tls(link, count, 0);
    return err == MPROC_E_SERVER_REFUSES ? err : -ECONNRESET;
}

static int write_tls(struct link *link, const char *data, size_t size, int64_t deadline)
{
    while (size > 0) {
        int count = SSL_write(link->tls, data, size < 1 << 30 ? (int)size : 1 << 30);
        int err = count > 0 ? 0 : wait_for_tls(link, count, deadline);
        if (err)
            return err == -ECONNRESET ? why_it_ended(link) : err;
        if (count > 0) {
            data += count;
            size -= (size_t)count;
        }
    }
    return 0;
}

int link_write(struct link *link, const char *data, size_t size, int64_t deadline)
{
    struct iovec whole = { (void *)(uintptr_t)data, size };
    return link->tls ? write_tls(link, data, size, deadline) : link_write_pieces(link, &whole, 1, deadline);
}

int link_write_pieces(struct link *link, struct iovec *pieces, int count, int64_t deadline)
{
    while (count > 0) {
        struct msghdr message = { .msg_iov = pieces, .msg_iovlen = (size_t)count };
        ssize_t sent = sendmsg(link->fd, &message, MSG_NOSIGNAL);
        int err = sent >= 0 ? 0 : errno == EAGAIN ? wait_for(link, POLLOUT, deadline) : errno == EINTR ? 0 : -errno;
        if (err)
            return err;
        size_t left = sent > 0 ? (size_t)sent : 0;
        for (; count > 0 && left >= pieces->iov_len; pieces++, count--)
            left -= pieces->iov_len;
        if (count > 0) {
            pieces->iov_base = (char *)pieces->iov_base + left;
            pieces->iov_len -= left;
        }
    }
    return 0;
}

ssize_t link_read(struct link *link, char *data, size_t size, int64_t deadline)
{
    for (;;) {
        int err;
        ssize_t count;
        if (link->tls) {
            count = SSL_read(link->tls, data, (int)size);
            if (count > 0)
                return count;
            err = wait_for_tls(link, (int)count, deadline);
        } else {
            count = recv(link->fd, data, size, 0);
            if (count > 0)
                return count;
            err = count == 0        ? -ECONNRESET
                  : errno == EAGAIN ? wait_for(link, POLLIN, deadline)
                  : errno == EINTR  ? 0
                                    : -errno;
        }
        if (err)
            return err == -ETIMEDOUT ? -EAGAIN : err;
    }
}
