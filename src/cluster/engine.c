/* Finding an engine, and what to tell it. SPDX-License-Identifier: MIT */
#include "cluster/engine.h"

#include "base/report.h"
#include "os/clock.h"
#include "os/file.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <mproc/error.h>
#include <mproc/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define LEASE_DEFAULT (5 * SECOND)
#define PATIENCE_DEFAULT (30 * SECOND)

enum { PASSWORD_MOST = 4096 };

#define TEXT_OF_(x) #x
#define TEXT_OF(x) TEXT_OF_(x)

/* ---- what the user gave */

static char *copy_of(const char *given, const char *variable)
{
    const char *text = given ? given : getenv(variable);
    return text && *text ? strdup(text) : NULL;
}

static int read_password(char **password, const char *path)
{
    char text[PASSWORD_MOST];
    int length = os_read_file(path, text, sizeof text);
    if (length < 0)
        return length;
    text[strcspn(text, "\r\n")] = '\0';
    *password = strdup(text);
    explicit_bzero(text, sizeof text);
    return *password ? 0 : -ENOMEM;
}

/* Without the password. */
static void show_url(char *shown, const char *url)
{
    const char *rest = strstr(url, "://");
    size_t scheme = rest ? (size_t)(rest + 3 - url) : 0, length = strcspn(url + scheme, "/");
    const char *at = memrchr(url + scheme, '@', length);
    size_t user = at ? strcspn(url + scheme, ":@") : 0;
    snprintf(shown, CLUSTER_URL_SHOWN, "%.*s%s", (int)(scheme + user), url, at ? at : url + scheme);
}

int cluster_access_make(struct cluster_access *access, const char *what, const char *url,
                        const struct mproc_cluster_options *options, struct mproc_error *error)
{
    *access = (struct cluster_access) { .url = NULL };
    if (!url || !*url)
        return report(error, -EINVAL, "%s: the cluster's URL is missing", what);
    if (options->lease < 0 || options->patience < 0 || (options->lease && options->lease < SECOND / 10))
        return report(error, -EINVAL, "%s: .lease is less than 0.1 s, or .patience negative", what);
    access->url = strdup(url);
    show_url(access->shown, url);
    access->user = copy_of(options->user, "MPROC_CLUSTER_USER");
    access->password = copy_of(options->password, "MPROC_CLUSTER_PASSWORD");
    access->ca_file = copy_of(options->ca_file, "MPROC_CLUSTER_CA");
    access->certificate_file = copy_of(options->certificate_file, "MPROC_CLUSTER_CERTIFICATE");
    access->key_file = copy_of(options->key_file, "MPROC_CLUSTER_KEY");
    const char *path = getenv("MPROC_CLUSTER_PASSWORD_FILE");
    if (!access->password && path && *path) {
        int err = read_password(&access->password, path);
        if (err) {
            cluster_access_free(access);
            return report(error, err, "%s: the file of $MPROC_CLUSTER_PASSWORD_FILE, '%s'", what, path);
        }
    }
    if (!access->url)
        return report(error, -ENOMEM, "%s", what);
    access->options = (struct mproc_engine_options) {
        .size = sizeof access->options,
        .url = access->url,
        .user = access->user,
        .password = access->password,
        .ca_file = access->ca_file,
        .certificate_file = access->certificate_file,
        .key_file = access->key_file,
        .lease = options->lease ? options->lease : LEASE_DEFAULT,
        .patience = options->patience ? options->patience : PATIENCE_DEFAULT,
    };
    return 0;
}

void cluster_access_free(struct cluster_access *access)
{
    if (access->password)
        explicit_bzero(access->password, strlen(access->password));
    if (access->url)
        explicit_bzero(access->url, strlen(access->url));
    free(access->url);
    free(access->user);
    free(access->password);
    free(access->ca_file);
    free(access->certificate_file);
    free(access->key_file);
    *access = (struct cluster_access) { .url = NULL };
}

/* ---- the library */

static const struct {
    const char *scheme, *library, *package;
} schemes[] = {
    { "redis", "redis", "libhiredis-dev and libssl-dev" },
    { "rediss", "redis", "libhiredis-dev and libssl-dev" },
    { "valkey", "redis", "libhiredis-dev and libssl-dev" },
    { "valkeys", "redis", "libhiredis-dev and libssl-dev" },
    { "mpi", "mpi", "libopenmpi-dev" },
};

/* Others than ours go by the name of their scheme. */
static bool name_library(const char *url, char *name, size_t size, const char **package)
{
    size_t length = strcspn(url, ":");
    if (url[length] != ':' || length == 0 || length > 32 ||
        strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789") < length)
        return false;
    *package = NULL;
    snprintf(name, size, "%.*s", (int)length, url);
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strcmp(name, schemes[i].scheme) == 0) {
            snprintf(name, size, "%s", schemes[i].library);
            *package = schemes[i].package;
            break;
        }
    return true;
}

enum { REASON_SIZE = 160 };

static void note_reason(char *why)
{
    const char *reason = dlerror();
    if (why[0] == '\0')
        snprintf(why, REASON_SIZE, "%s", reason ? reason : "?");
}

/* Fills `why` if it is there, but cannot be loaded: since a library is missing that it needs, for example. */
static void *open_in(const char *folder, const char *file, char *why)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", folder, file);
    if (length <= 0 || (size_t)length >= sizeof path || access(path, F_OK) != 0)
        return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        note_reason(why);
    return library;
}

/* Where $MPROC_ENGINE_PATH says; beside this library, or the program that it is part of; where libraries are. */
static void *open_library(const char *file, char *why)
{
    const char *folder = getenv("MPROC_ENGINE_PATH");
    void *library = folder && *folder ? open_in(folder, file, why) : NULL;
    Dl_info self;
    if (!library && dladdr((void *)(uintptr_t)cluster_find_engine, &self) && self.dli_fname) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s", self.dli_fname);
        char *slash = strrchr(path, '/');
        if (slash) {
            *slash = '\0';
            library = open_in(path, file, why);
        }
    }
    if (!library)
        library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        note_reason(why);
    return library;
}

int cluster_find_engine(const struct mproc_engine **engine, const char *what, const char *url,
                        struct mproc_error *error)
{
    char name[40], file[96], why[REASON_SIZE] = "";
    const char *package;
    if (!name_library(url, name, sizeof name, &package)) {
        char shown[CLUSTER_URL_SHOWN];
        show_url(shown, url);
        return report_text(error, -EINVAL,
                           "%s: '%.60s' is not the URL of a cluster: write redis://HOST/FARM, rediss://HOST/FARM or "
                           "mpi:",
                           what, shown);
    }
    snprintf(file, sizeof file, "libmproc-%s.so." TEXT_OF(MPROC_VERSION_MAJOR), name);
    void *library = open_library(file, why);
    if (!library)
        return report_text(error, MPROC_E_ENGINE_MISSING, "%s: the engine %s cannot be loaded (%s): %s%s%s", what, file,
                           why, package ? "it is built with mproc where the packages " : "install it",
                           package ? package : "",
                           package ? " are installed; $MPROC_ENGINE_PATH may name its folder" : "");
    *engine = dlsym(library, "mproc_engine");
    if (!*engine || (*engine)->version != MPROC_ENGINE_VERSION)
        return report_text(error, MPROC_E_ENGINE_MISSING, "%s: %s is not an engine of this version of mproc", what,
                           file);
    return 0;
}

int cluster_connect(const struct mproc_engine *engine, void **connection, struct cluster_access *access,
                    const char *what, struct mproc_error *error)
{
    char message[MPROC_ENGINE_MESSAGE_SIZE] = "";
    access->options.message = message;
    int err = engine->open(connection, &access->options);
    access->options.message = NULL;
    if (err && message[0])
        return report_text(error, err, "%s: %s", what, message);
    return err ? report(error, err, "%s", what) : 0;
}

#define BRISK INT64_C(300000)       /* what takes less */
#define ASK_AT_ONCE INT64_C(100000) /* for so long */
#define ASK_SOON INT64_C(20000)
#define ASK_LATE INT64_C(2000000)

/* A part of what a batch takes, as each waking costs some of the workers' time. */
enum { ASKS_A_BATCH = 8 };

int64_t cluster_ask_again_in(struct asking *asking, int64_t took)
{
    int64_t now = os_now(), wait = asking->waited == 0 ? took / ASKS_A_BATCH : asking->waited * 5 / 4;
    if (asking->since == 0)
        asking->since = now;
    if (took < BRISK && now - asking->since < ASK_AT_ONCE)
        return 0;
    asking->waited = wait < ASK_SOON ? ASK_SOON : wait < ASK_LATE ? wait : ASK_LATE;
    return asking->waited;
}
