/* Accounts in shared memory, guarded by a lock, and a process that is killed in the middle of a transfer. The next one
 * to acquire the lock is told, repairs the accounts, and not a cent is lost. SPDX-License-Identifier: MIT
 *
 *     bank [-w workers]
 */
#include <mproc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ACCOUNTS = 10, TRANSFERS = 10000, DEADLY = 5000 };

/* One for all processes, at one address. */
struct bank {
    mproc_lock lock;
    long cents[ACCOUNTS];
    int repairs;
    /* What the accounts were before the transfer in progress. */
    struct {
        bool valid;
        int from, to;
        long from_cents, to_cents;
    } before;
};

struct transfer {
    struct bank *bank;
    int from, to, cents;
    bool is_deadly;
};

/* A kill may come between any two instructions. What was written before this line is then there before anything that is
 * written after it; otherwise the compiler might do it in another order. */
static void in_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* The lock's last holder died. If it was in the middle of a transfer, that is undone. */
static void repair(struct bank *bank)
{
    if (bank->before.valid) {
        bank->cents[bank->before.from] = bank->before.from_cents;
        bank->cents[bank->before.to] = bank->before.to_cents;
        in_order();
        bank->before.valid = false;
    }
    bank->repairs++;
    mproc_lock_mark_consistent(&bank->lock);
}

static int carry_out(const struct transfer *transfer, long *left)
{
    struct bank *bank = transfer->bank;
    int err = mproc_lock_acquire(&bank->lock, MPROC_FOREVER);
    if (err == MPROC_E_OWNER_DIED)
        repair(bank); /* the lock is held all the same */
    else if (err)
        return err;
    bank->before.from = transfer->from;
    bank->before.from_cents = bank->cents[transfer->from];
    bank->before.to = transfer->to;
    bank->before.to_cents = bank->cents[transfer->to];
    in_order();
    bank->before.valid = true;
    in_order();
    bank->cents[transfer->from] -= transfer->cents;
    if (transfer->is_deadly)
        kill(getpid(), SIGKILL); /* in the worst moment */
    bank->cents[transfer->to] += transfer->cents;
    in_order();
    bank->before.valid = false;
    *left = bank->cents[transfer->from];
    return mproc_lock_release(&bank->lock);
}
MPROC_TASK(carry_out);

static long total(const struct bank *bank)
{
    long sum = 0;
    for (int i = 0; i < ACCOUNTS; i++)
        sum += bank->cents[i];
    return sum;
}

int main(int argc, char **argv)
{
    static struct transfer transfers[TRANSFERS];
    static long left[TRANSFERS];
    int workers = argc == 3 && strcmp(argv[1], "-w") == 0 ? atoi(argv[2]) : 2;
    if ((argc != 1 && argc != 3) || workers < 1) {
        fprintf(stderr, "usage: bank [-w workers]\n");
        return 2;
    }
    struct bank *bank = mproc_calloc(1, sizeof *bank); /* all zeroes: the lock is ready for use */
    if (!bank) {
        perror("bank");
        return 1;
    }
    for (int i = 0; i < ACCOUNTS; i++)
        bank->cents[i] = 100000;
    for (int i = 0; i < TRANSFERS; i++)
        transfers[i] = (struct transfer) { bank, i % ACCOUNTS, (i * 7 + 1) % ACCOUNTS, i % 500, i == DEADLY };
    printf("%ld cents before\n", total(bank));

    mproc_pool *pool;
    struct mproc_error error;
    int result = mproc_pool_open(&pool, .workers = workers, .error = &error);
    if (result == 0) {
        result = mproc_map(pool, carry_out, transfers, left, TRANSFERS, .error = &error);
        mproc_pool_close(pool);
    }
    if (result < 0) {
        fprintf(stderr, "%s\n", error.message);
        mproc_free(bank);
        return 1;
    }
    printf("%d transfers, %d of them broken off by a kill, %d repaired\n", TRANSFERS, result, bank->repairs);
    printf("%ld cents after\n", total(bank));
    mproc_free(bank);
    return 0;
}
