/* Where the server is. SPDX-License-Identifier: MIT */
#include "address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FARM_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

static int digit(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    letter |= 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* With %XX decoded. */
static bool take(char *to, size_t size, const char *from, size_t length)
{
    size_t end = 0;
    for (size_t i = 0; i < length; i++) {
        char letter = from[i];
        if (letter == '%') {
            int high = i + 2 < length ? digit(from[i + 1]) : -1;
            int low = i + 2 < length ? digit(from[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return false;
            letter = (char)(high * 16 + low);
            i += 2;
        }
        if (end + 1 >= size)
            return false;
        to[end++] = letter;
    }
    to[end] = '\0';
    return true;
}

static bool read_user(struct address *address, const char *text, size_t length)
{
    const char *colon = memchr(text, ':', length);
    size_t user = colon ? (size_t)(colon - text) : length;
    return take(address->user, sizeof address->user, text, user) &&
           (!colon || take(address->password, sizeof address->password, colon + 1, length - user - 1));
}

static bool read_host(struct address *address, const char *text, size_t length)
{
    const char *end = text + length, *host = text, *port = NULL;
    size_t host_length = length;
    if (length > 0 && *text == '[') {
        const char *bracket = memchr(text, ']', length);
        if (!bracket)
            return false;
        host = text + 1;
        host_length = (size_t)(bracket - host);
        port = bracket + 1;
    } else {
        port = memchr(text, ':', length);
        host_length = port ? (size_t)(port - text) : length;
    }
    if (port && port < end) {
        long number = *port == ':' ? strtol(port + 1, NULL, 10) : 0;
        size_t digits = strspn(port + 1, "0123456789");
        if (number < 1 || number > 65535 || port + 1 + digits != end)
            return false;
        snprintf(address->port, sizeof address->port, "%ld", number);
    }
    return host_length > 0 && take(address->host, sizeof address->host, host, host_length);
}

bool address_read(struct address *address, const char *url, char *message, size_t size)
{
    *address = (struct address) { .port = "6379", .farm = "default" };
    const char *rest = url + strcspn(url, ":");
    if (strncmp(rest, "://", 3) != 0) {
        snprintf(message, size, "the URL has to begin with redis:// or rediss://");
        return false;
    }
    address->tls = strncmp(url, "rediss:", 7) == 0 || strncmp(url, "valkeys:", 8) == 0;
    rest += 3;
    size_t length = strcspn(rest, "/");
    const char *farm = rest[length] ? rest + length + 1 : "";
    const char *at = memrchr(rest, '@', length);
    if (at && !read_user(address, rest, (size_t)(at - rest))) {
        snprintf(message, size,
                 "user and password in the URL cannot be read: write other letters than A-Z, 0-9 as %%XX");
        return false;
    }
    const char *host = at ? at + 1 : rest;
    if (!read_host(address, host, length - (size_t)(host - rest))) {
        snprintf(message, size, "host and port in the URL cannot be read: write HOST, HOST:PORT or [ADDRESS]:PORT");
        return false;
    }
    if (!*farm)
        return true;
    if (strlen(farm) >= sizeof address->farm || strspn(farm, FARM_LETTERS) < strlen(farm)) {
        snprintf(message, size, "the farm's name, '%.60s', may have up to 63 letters, digits, dots, _ and -", farm);
        return false;
    }
    snprintf(address->farm, sizeof address->farm, "%s", farm);
    return true;
}
