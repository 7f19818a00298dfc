"""The Python side of a connection: multiprocessing.connection over inherited descriptors. SPDX-License-Identifier: MIT

peer.py MODE READ_FD WRITE_FD [SIZE...]; one descriptor for both is a socket. Messages are as tests/unit/connection_use.h
fills them. Ends with 0 if all was as expected.
"""
import decimal
import sys
from multiprocessing.connection import Connection

PERIOD = 65521
BLOCK = 1 << 26


def filled(size, number):
    first = bytes((i * 2654435761 >> 13) + number & 0xFF for i in range(min(size, PERIOD)))
    return (first * (size // PERIOD + 1))[:size] if size > PERIOD else first


def open_both(read_fd, write_fd):
    if read_fd == write_fd:
        both = Connection(read_fd)
        return both, both
    return Connection(read_fd, writable=False), Connection(write_fd, readable=False)


def expect_end(reader):
    for _ in range(2):
        try:
            reader.recv_bytes()
        except EOFError:
            continue
        raise AssertionError("there is no end")


def echo(reader, writer):
    while True:
        try:
            writer.send_bytes(reader.recv_bytes())
        except EOFError:
            break
    expect_end(reader)


def send(reader, writer, sizes):
    for number, size in enumerate(sizes):
        writer.send_bytes(filled(size, number))


def receive(reader, writer, sizes):
    for number, size in enumerate(sizes):
        assert reader.recv_bytes() == filled(size, number), number
    expect_end(reader)


def drive(reader, writer, sizes):
    """Where the other side echoes."""
    for number, size in enumerate(sizes):
        writer.send_bytes(filled(size, number))
        assert reader.poll(60)
        assert reader.recv_bytes() == filled(size, number), number
    for something in (None, 1, "text", [1, {"two": 3.0}], decimal.Decimal("4.5"), {"large": b"x" * 1000000}):
        writer.send(something)
        assert reader.recv() == something
    writer.close()
    if reader is not writer:
        expect_end(reader)


def gigabytes(reader, writer, sizes):
    """Receives each, and sends one of the same size; a block that is repeated, so that little is to be computed."""
    block = filled(BLOCK, 0)
    for size in sizes:
        data = reader.recv_bytes()
        assert len(data) == size
        view = memoryview(data)
        for at in range(0, size, BLOCK):
            assert view[at:at + BLOCK] == block[:min(BLOCK, size - at)], at
        del view
        del data
        data = block * (size // BLOCK + 1)
        writer.send_bytes(data, 0, size)
        del data
    expect_end(reader)


if __name__ == "__main__":
    mode, ends, sizes = sys.argv[1], [int(word) for word in sys.argv[2:4]], [int(word) for word in sys.argv[4:]]
    reader, writer = open_both(*ends)
    if mode == "echo":
        echo(reader, writer)
    else:
        {"send": send, "receive": receive, "drive": drive, "gigabytes": gigabytes}[mode](reader, writer, sizes)
