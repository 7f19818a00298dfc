"""Queue and SimpleQueue of Python's multiprocessing. SPDX-License-Identifier: MIT

Arguments: Queue or SimpleQueue, then as in run.h. Prints what run.h says.
"""

import multiprocessing
import struct
import sys
import time

WORD = struct.Struct("<Q")
context = multiprocessing.get_context("fork")


def make(kind, bound):
    return context.Queue(bound) if kind == "Queue" else context.SimpleQueue()


def produce(queue, number, size, count):
    message = bytearray(b"m" * size)
    for i in range(count):
        word = WORD.pack(number << 48 | i)
        if size > 8:
            message[:8] = word
            message[-8:] = word
            word = bytes(message)
        queue.put(word)


def consume(queue, producers, size, quota):
    """Returns the sum of the sequence numbers."""
    total, following = 0, [0] * producers
    for _ in range(quota):
        message = queue.get()
        (word,) = WORD.unpack_from(message)
        (last,) = WORD.unpack_from(message, size - 8)
        producer, sequence = word >> 48, word & ((1 << 48) - 1)
        assert len(message) == size and last == word and sequence >= following[producer]
        following[producer] = sequence + 1
        total += sequence
    return total


def stream(kind, producers, consumers, size, bound, count):
    queue, reports = make(kind, bound), context.SimpleQueue()
    ready = context.Barrier(producers + consumers)

    def take_part(work, *arguments):
        ready.wait()
        start = time.monotonic()
        total = work(*arguments) or 0
        reports.put((start, time.monotonic(), total))

    quota = count * producers // consumers
    processes = [context.Process(target=take_part, args=(produce, queue, i, size, count)) for i in range(producers)]
    processes += [context.Process(target=take_part, args=(consume, queue, producers, size, quota))
                  for _ in range(consumers)]
    for process in processes:
        process.start()
    starts, ends, totals = zip(*[reports.get() for _ in processes])
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sum(totals) == producers * (count * (count - 1) // 2)
    print(f"{max(ends) - min(starts):.9f}")


def answer(questions, answers, count):
    for i in range(count):
        (word,) = WORD.unpack(questions.get())
        assert word == 2 * i + 1
        answers.put(WORD.pack(word + 1))


def trips(kind, bound, count, pause):
    questions, answers = make(kind, bound), make(kind, bound)
    process = context.Process(target=answer, args=(questions, answers, count))
    process.start()
    seconds = []
    for i in range(count):
        if pause:
            time.sleep(pause)
        start = time.monotonic()
        questions.put(WORD.pack(2 * i + 1))
        (word,) = WORD.unpack(answers.get())
        seconds.append(time.monotonic() - start)
        assert word == 2 * i + 2
    process.join()
    assert process.exitcode == 0
    seconds.sort()
    print(f"{seconds[int(0.5 * (count - 1) + 0.5)]:.9f} {seconds[int(0.99 * (count - 1) + 0.5)]:.9f}")


def main():
    kind, what = sys.argv[1:3]
    producers, consumers, size, bound, count, pause = map(int, sys.argv[3:])
    if what == "trips":
        trips(kind, bound, count, pause * 1e-9)
    else:
        stream(kind, producers, consumers, size, bound, count)


main()
