"""Python's multiprocessing.Pool, which peers/peer.h tells what to do. SPDX-License-Identifier: MIT"""
import gc
import sys
import time
from multiprocessing import Pool

WORKERS = 2


def add_one(number):
    return number + 1


def sum_range(last):
    total = 0
    for number in range(last):
        total += number
    return total


def run_empty(pool, n, schedule):
    numbers = list(range(n))
    start = time.monotonic()
    results = pool.map(add_one, numbers, chunksize=1 if schedule == "one" else None)
    took = time.monotonic() - start
    return took if results == list(range(1, n + 1)) else -1


def run_small(pool, n, repeats, pause):
    total = 0
    for repeat in range(repeats):
        if pause > 0:
            time.sleep(pause * 1e-9)
        start = time.monotonic()
        results = pool.map(add_one, range(repeat, repeat + n), chunksize=1)
        total += time.monotonic() - start
        if results != list(range(repeat + 1, repeat + n + 1)):
            return -1
    return total / repeats


def run_sum(last):
    start = time.monotonic()
    expected = [sum_range(last) for _ in range(WORKERS)]
    alone = time.monotonic() - start
    start = time.monotonic()
    with Pool(WORKERS) as pool:
        results = pool.map(sum_range, [last] * WORKERS)
    took = time.monotonic() - start
    return took / alone if results == expected else -1


def run_open():
    start = time.monotonic()
    pool = Pool(WORKERS)
    pool.close()
    pool.join()
    return time.monotonic() - start


def answer(words, pools):
    if words[0] == "sum":
        return run_sum(int(words[1]))
    if words[0] == "open":
        return run_open()
    if not pools:
        pools.append(Pool(WORKERS))
    if words[0] == "empty":
        return run_empty(pools[0], int(words[1]), words[2])
    if words[0] == "small":
        return run_small(pools[0], int(words[1]), int(words[2]), int(words[3]))
    return -1


def main():
    if sys.argv[1:] == ["--version"]:
        print("Python", sys.version.split()[0])
        return
    pools = []
    for line in sys.stdin:
        print(answer(line.split(), pools), flush=True)
        gc.collect()
    for pool in pools:
        pool.terminate()


if __name__ == "__main__":
    main()
