/* Round trips: one asks, one answers. SPDX-License-Identifier: MIT */
#ifndef BENCH_QUEUE_TRIPS_H
#define BENCH_QUEUE_TRIPS_H

#include "channel.h"

int trips_ask(const struct channel *channel, struct stream *stream);
int trips_answer(const struct channel *channel, struct stream *stream);

#endif
