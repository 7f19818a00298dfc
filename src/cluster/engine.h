/* Finding an engine, and what to tell it. SPDX-License-Identifier: MIT */
#ifndef CLUSTER_ENGINE_H
#define CLUSTER_ENGINE_H

#include <mproc/cluster.h>
#include <mproc/engine.h>
#include <mproc/outcome.h>

enum { CLUSTER_URL_SHOWN = 100 };

/* What the user gave, completed by the environment. */
struct cluster_access {
    struct mproc_engine_options options;                                 /* name and message are the caller's to set */
    char *url, *user, *password, *ca_file, *certificate_file, *key_file; /* malloc's */
    char shown[CLUSTER_URL_SHOWN];                                       /* the URL, for messages */
};

/* `what`: the public call, for messages. Returns 0 or an error code, with the error filled and nothing to free. */
int cluster_access_make(struct cluster_access *access, const char *what, const char *url,
                        const struct mproc_cluster_options *options, struct mproc_error *error);

/* Overwrites the password. */
void cluster_access_free(struct cluster_access *access);

/* Loads the engine for a URL. It stays loaded. Returns 0 or an error code, with the error filled. */
int cluster_find_engine(const struct mproc_engine **engine, const char *what, const char *url,
                        struct mproc_error *error);

/* The same of whatever the URL of an agent's command line, or its engine, may be. */
int cluster_connect(const struct mproc_engine *engine, void **connection, struct cluster_access *access,
                    const char *what, struct mproc_error *error);

/* Since when nothing has come, and how long was waited last. All 0 when something has just come. */
struct asking {
    int64_t since, waited;
};

/* How long to wait before asking an engine again that has no descriptors, in nanoseconds. `took`: what a batch took
 * last. If it is so little that waiting would be most of its way, the answer is 0 for a moment, and others are to be
 * let run. */
int64_t cluster_ask_again_in(struct asking *asking, int64_t took);

#endif
