/* The processes of the random test of queues. SPDX-License-Identifier: MIT */
#include "queue_soak.h"

#include "channel/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HEADER = 2 * sizeof(uint32_t) };

static unsigned char buffers[BATCH][SIZE_MOST];

/* ---- messages */

size_t message_size(uint32_t producer, uint32_t number)
{
    uint32_t hash = (producer * 2654435761U) ^ (number * 2246822519U);
    hash = (hash ^ hash >> 15) * 3266489917U;
    uint32_t size = hash >> 8;
    switch (hash % 16) {
    case 0: return 0;
    case 1: return HEADER + size % (SIZE_MOST - HEADER + 1);
    case 2: return INLINE_MOST - 16 + size % 32;
    case 3: return HEADER + size % 6000;
    default: return HEADER + size % 200;
    }
}

static int pattern_of(uint32_t producer, uint32_t number)
{
    return (int)((producer * 7 + number) & 255);
}

static size_t write_message(unsigned char *bytes, uint32_t producer, uint32_t number)
{
    size_t size = message_size(producer, number);
    if (size != 0) {
        memcpy(bytes, &producer, sizeof producer);
        memcpy(bytes + sizeof producer, &number, sizeof number);
        memset(bytes + HEADER, pattern_of(producer, number), size - HEADER);
    }
    return size;
}

static void read_message(const unsigned char *bytes, size_t size, struct take *take)
{
    take->producer = NOBODY;
    take->number = 0;
    if (size == 0)
        return;
    CHECK(size >= HEADER);
    memcpy(&take->producer, bytes, sizeof take->producer);
    memcpy(&take->number, bytes + sizeof take->producer, sizeof take->number);
    CHECK(take->producer < JOURNALS && take->number < ENTRIES && size == message_size(take->producer, take->number));
    int pattern = pattern_of(take->producer, take->number);
    CHECK(size == HEADER || bytes[HEADER] == pattern);
    CHECK(size <= HEADER + 1 || memcmp(bytes + HEADER, bytes + HEADER + 1, size - HEADER - 1) == 0);
}

static int64_t some_timeout(unsigned *seed, bool forever)
{
    switch (rand_r(seed) % 4) {
    case 0: return 0;
    case 1: return MPROC_US(rand_r(seed) % 2000);
    default: return forever ? MPROC_FOREVER : MPROC_US(rand_r(seed) % 500);
    }
}

/* ---- producers */

struct producer {
    const struct round *round;
    mproc_queue *queue;
    struct journal *journal;
    void **slot;
    uint32_t me;
    unsigned seed;
    struct mproc_message reserved;
    size_t capacity; /* of what is reserved; 0: nothing is */
    bool over;
};

/* Returns the number of the first of so many messages that are about to be put. */
static uint32_t about_to_put(struct producer *self, uint32_t count)
{
    uint32_t first = atomic_load(&self->journal->count);
    for (uint32_t i = first; i < first + count; i++)
        atomic_store(&self->journal->puts[i].state, PUT_ABOUT);
    atomic_store(&self->journal->count, first + count);
    return first;
}

/* `result`: how many were put, or an error. */
static void returned(struct producer *self, uint32_t first, uint32_t count, int result, int64_t timeout)
{
    uint32_t put = result > 0 ? (uint32_t)result : 0;
    CHECK(put <= count);
    for (uint32_t i = 0; i < count; i++)
        atomic_store(&self->journal->puts[first + i].state, i < put ? PUT_DONE : PUT_REFUSED);
    if (result > 0)
        return;
    CHECK(result == MPROC_E_CLOSED || result == MPROC_E_NO_READERS || (result == -ETIMEDOUT && timeout >= 0));
    if (result == -ETIMEDOUT)
        return;
    CHECK(atomic_load(&self->round->journals->ending));
    self->over = true;
}

static int one_if_put(int err)
{
    return err == 0 ? 1 : err;
}

static void put_copies(struct producer *self)
{
    uint32_t count = rand_r(&self->seed) % 3 ? 1 : 2 + (uint32_t)rand_r(&self->seed) % (BATCH - 1);
    int64_t timeout = some_timeout(&self->seed, true);
    uint32_t first = about_to_put(self, count);
    struct iovec parts[BATCH];
    for (uint32_t i = 0; i < count; i++)
        parts[i] = (struct iovec) { buffers[i], write_message(buffers[i], self->me, first + i) };
    int result = count == 1 ? one_if_put(mproc_queue_put(self->queue, buffers[0], parts[0].iov_len, timeout))
                            : mproc_queue_put_many(self->queue, parts, (int)count, timeout);
    returned(self, first, count, result, timeout);
}

/* One that belongs to the process, or one of the family, which the slot names then. */
static void put_block(struct producer *self)
{
    bool owned = rand_r(&self->seed) % 2;
    int64_t timeout = some_timeout(&self->seed, true);
    uint32_t number = about_to_put(self, 1);
    void *block = mproc_alloc_owned(message_size(self->me, number));
    CHECK(block);
    size_t size = write_message(block, self->me, number);
    if (!owned)
        CHECK(mproc_publish(self->slot, block) == 0);
    int err = mproc_queue_put_block(self->queue, block, size, timeout);
    returned(self, number, 1, one_if_put(err), timeout);
    if (err != 0)
        CHECK(mproc_free(block) == 0);
    *self->slot = NULL;
}

static void reserve(struct producer *self)
{
    size_t size = rand_r(&self->seed) % 4 ? 300 : SIZE_MOST;
    int err = mproc_queue_reserve(self->queue, size, &self->reserved);
    if (err == MPROC_E_CLOSED) {
        CHECK(atomic_load(&self->round->journals->ending));
        self->over = true;
        return;
    }
    CHECK(err == 0 && self->reserved.size == size);
    memset(self->reserved.data, 0xee, size);
    self->capacity = size;
}

static void commit(struct producer *self)
{
    uint32_t number = atomic_load(&self->journal->count);
    if (message_size(self->me, number) > self->capacity) {
        CHECK(mproc_queue_cancel(self->queue, &self->reserved) == 0);
        self->capacity = 0;
        return;
    }
    int64_t timeout = some_timeout(&self->seed, true);
    self->reserved.size = write_message(self->reserved.data, self->me, number);
    about_to_put(self, 1);
    int err = mproc_queue_commit(self->queue, &self->reserved, timeout);
    returned(self, number, 1, one_if_put(err), timeout);
    if (err == 0)
        self->capacity = 0;
}

static void come_and_go(mproc_queue *queue, enum mproc_queue_role role, unsigned *seed)
{
    if (rand_r(seed) % 16 == 0)
        CHECK(mproc_queue_detach(queue, role) == 0);
    if (rand_r(seed) % 2)
        CHECK(mproc_queue_attach(queue, role) == 0);
}

/* Queues without limits do not hold anybody up. */
static void hold_back(const struct producer *self)
{
    if (mproc_queue_size(self->queue) > 5000 || mproc_queue_bytes(self->queue) > (size_t)32 << 20)
        usleep(1000);
}

_Noreturn void be_producer(const struct round *round, uint32_t me)
{
    struct producer self = { .round = round,
                             .queue = round->queue,
                             .journal = &round->journals->all[me],
                             .slot = &round->slots[me],
                             .me = me,
                             .seed = round->seed + me };
    while (!self.over && !atomic_load(&round->journals->stop_putting) &&
           atomic_load(&self.journal->count) + BATCH <= ENTRIES) {
        switch (rand_r(&self.seed) % 8) {
        case 0: put_block(&self); break;
        case 1: come_and_go(self.queue, MPROC_QUEUE_WRITER, &self.seed); break;
        case 2: hold_back(&self); break;
        case 3:
        case 4: self.capacity ? commit(&self) : reserve(&self); break;
        default: put_copies(&self);
        }
        atomic_fetch_add(&self.journal->operations, 1);
    }
    _exit(0);
}

/* ---- consumers */

struct held {
    uint32_t entry;
    bool borrowed;
    struct mproc_message message;
};

struct consumer {
    const struct round *round;
    mproc_queue *queue;
    struct journal *journal;
    void **slot;
    unsigned seed;
    struct held held[HELD_MOST + BATCH]; /* in the order in which they were taken */
    int held_count;
    bool over;
};

static void begin_call(struct journal *journal, uint32_t most, bool gives_block)
{
    atomic_store(&journal->call_from, atomic_load(&journal->count));
    atomic_store(&journal->call_gives_block, gives_block);
    atomic_store(&journal->call_most, most);
}

static void end_call(struct journal *journal)
{
    atomic_store(&journal->call_most, 0);
}

static uint32_t took(struct journal *journal, const void *bytes, size_t size, enum take_state state)
{
    uint32_t entry = atomic_load(&journal->count);
    read_message(bytes, size, &journal->takes[entry]);
    atomic_store(&journal->takes[entry].state, state);
    atomic_store(&journal->count, entry + 1);
    return entry;
}

/* A message to be done with later. */
static void took_and_holds(struct consumer *self, const void *bytes, size_t size, const struct mproc_message *borrowed)
{
    bool holds = borrowed || self->round->joinable;
    uint32_t entry = took(self->journal, bytes, size, holds ? TAKE_HELD : TAKE_FINISHED);
    if (!holds)
        return;
    struct held *held = &self->held[self->held_count++];
    *held = (struct held) { .entry = entry, .borrowed = borrowed };
    if (borrowed)
        held->message = *borrowed;
}

static void failed(struct consumer *self, int err, int64_t timeout)
{
    end_call(self->journal);
    CHECK(err == MPROC_E_CLOSED || err == MPROC_E_NO_WRITERS || (err == -ETIMEDOUT && timeout >= 0));
    if (err == -ETIMEDOUT)
        return;
    CHECK(atomic_load(&self->round->journals->ending));
    self->over = true;
}

static size_t some_capacity(struct consumer *self)
{
    return rand_r(&self->seed) % 4 ? SIZE_MOST : 100;
}

static void get(struct consumer *self, int64_t timeout)
{
    size_t size = 0, capacity = some_capacity(self);
    begin_call(self->journal, 1, false);
    int err = mproc_queue_get(self->queue, buffers[0], capacity, &size, timeout);
    if (err == -EMSGSIZE) {
        CHECK(size > capacity);
    } else if (err != 0) {
        failed(self, err, timeout);
    } else {
        CHECK(size <= capacity);
        took_and_holds(self, buffers[0], size, NULL);
    }
    end_call(self->journal);
}

static void get_many(struct consumer *self, int64_t timeout)
{
    struct iovec parts[BATCH];
    size_t capacity[BATCH];
    for (int i = 0; i < BATCH; i++)
        parts[i] = (struct iovec) { buffers[i], capacity[i] = some_capacity(self) };
    begin_call(self->journal, BATCH, false);
    int result = mproc_queue_get_many(self->queue, parts, BATCH, timeout);
    CHECK(result <= BATCH && result != 0);
    if (result == -EMSGSIZE)
        CHECK(parts[0].iov_len > capacity[0]);
    else if (result < 0)
        failed(self, result, timeout);
    for (int i = 0; i < result; i++) {
        CHECK(parts[i].iov_len <= capacity[i]);
        took_and_holds(self, buffers[i], parts[i].iov_len, NULL);
    }
    end_call(self->journal);
}

static void get_block(struct consumer *self, int64_t timeout)
{
    size_t size = 0;
    begin_call(self->journal, 1, true);
    int err = mproc_queue_get_block(self->queue, self->slot, &size, timeout);
    if (err != 0) {
        failed(self, err, timeout);
        return;
    }
    CHECK(mproc_usable_size(*self->slot) >= size);
    took_and_holds(self, *self->slot, size, NULL);
    end_call(self->journal);
    CHECK(mproc_free(*self->slot) == 0);
    *self->slot = NULL;
}

static void borrow(struct consumer *self, int64_t timeout)
{
    struct mproc_message message;
    begin_call(self->journal, 1, false);
    int err = mproc_queue_borrow(self->queue, &message, timeout);
    if (err != 0) {
        failed(self, err, timeout);
        return;
    }
    CHECK(message.deliveries >= 1 && (uintptr_t)message.data % 16 == 0);
    took_and_holds(self, message.data, message.size, &message);
    end_call(self->journal);
}

/* The first that is not borrowed, which is the one that mproc_queue_task_done means; or any that is. */
static void finish_one(struct consumer *self)
{
    int index = rand_r(&self->seed) % self->held_count;
    if (!self->held[index].borrowed)
        for (index = 0; self->held[index].borrowed;)
            index++;
    struct held *held = &self->held[index];
    _Atomic uint32_t *state = &self->journal->takes[held->entry].state;
    struct take again;
    if (held->borrowed) {
        read_message(held->message.data, held->message.size, &again);
        if (!self->round->options.redeliver && held->message.size != 0)
            memset(held->message.data, 0xdd, held->message.size);
    }
    atomic_store(state, TAKE_FINISHING);
    CHECK((held->borrowed ? mproc_queue_release(self->queue, &held->message) : mproc_queue_task_done(self->queue)) ==
          0);
    atomic_store(state, TAKE_FINISHED);
    self->held_count--;
    memmove(held, held + 1, (size_t)(self->held_count - index) * sizeof *held);
}

static void take_some(struct consumer *self)
{
    /* Those who would wait for one another's messages to come back would do so for ever. */
    int64_t timeout = some_timeout(&self->seed, !self->round->options.redeliver || self->held_count == 0);
    switch (rand_r(&self->seed) % 4) {
    case 0: get_many(self, timeout); break;
    case 1: get_block(self, timeout); break;
    case 2: borrow(self, timeout); break;
    default: get(self, timeout);
    }
}

_Noreturn void be_consumer(const struct round *round, uint32_t me)
{
    struct consumer self = { .round = round,
                             .queue = round->queue,
                             .journal = &round->journals->all[me],
                             .slot = &round->slots[me],
                             .seed = round->seed + me };
    while (!self.over && !atomic_load(&round->journals->stop_taking) &&
           atomic_load(&self.journal->count) + BATCH <= ENTRIES) {
        int choice = rand_r(&self.seed) % 16;
        if (choice == 0)
            come_and_go(self.queue, MPROC_QUEUE_READER, &self.seed);
        else if (self.held_count > 0 && (choice < 8 || self.held_count >= HELD_MOST))
            finish_one(&self);
        else
            take_some(&self);
        atomic_fetch_add(&self.journal->operations, 1);
    }
    _exit(0);
}

int take_one(const struct round *round, uint32_t me, int64_t timeout)
{
    struct journal *journal = &round->journals->all[me];
    size_t size;
    int err = mproc_queue_get(round->queue, buffers[0], sizeof buffers[0], &size, timeout);
    if (err != 0)
        return err;
    took(journal, buffers[0], size, TAKE_FINISHED);
    return round->joinable ? mproc_queue_task_done(round->queue) : 0;
}
