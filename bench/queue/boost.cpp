// Boost.Interprocess' message_queue. SPDX-License-Identifier: MIT
#include "channel.h"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <cerrno>
#include <memory>
#include <string>
#include <unistd.h>

#define _Alignas alignas
#include "stream.h"

namespace
{
using boost::interprocess::message_queue;

std::unique_ptr<message_queue> queues[2];
message_queue *out, *in;

// The processes are forked, so they have the mapping and need no name.
int create(const load *load)
try {
    for (int i = 0; i < (load->round_trips ? 2 : 1); i++) {
        std::string name = "mproc-bench-" + std::to_string(getpid()) + "-" + std::to_string(i);
        queues[i].reset(new message_queue(boost::interprocess::create_only, name.c_str(),
                                          static_cast<std::size_t>(load->bound), load->size));
        message_queue::remove(name.c_str());
    }
    return 0;
} catch (const boost::interprocess::interprocess_exception &exception) {
    return exception.get_native_error() ? -exception.get_native_error() : -EIO;
}

int open_end(const load *load, side side, int)
{
    out = queues[load->round_trips && side == CONSUMER].get();
    in = queues[load->round_trips && side == PRODUCER].get();
    return 0;
}

int put(const void *data, size_t size)
try {
    out->send(data, size, 0);
    return 0;
} catch (const boost::interprocess::interprocess_exception &) {
    return -1;
}

int get(void *buffer, size_t size)
try {
    message_queue::size_type got;
    unsigned priority;
    in->receive(buffer, size, got, priority);
    return got == size ? 0 : -1;
} catch (const boost::interprocess::interprocess_exception &) {
    return -1;
}

STREAM_LOOPS(put, get)

void destroy()
{
    for (auto &queue : queues)
        queue.reset();
}
} // namespace

const channel boost_channel = { create, open_end, produce, consume, put, get, nullptr, destroy, false };
