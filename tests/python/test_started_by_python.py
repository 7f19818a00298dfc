"""A Python program that talks to a C program that it starts. SPDX-License-Identifier: MIT

test_started_by_python.py PROGRAM, which is connection_peer.
"""
import os
import socket
import subprocess
import sys
import unittest

import peer

SIZES = [0, 1, 2, 16383, 16384, 16385, 1 << 20, 0, 7]


class StartedByPython(unittest.TestCase):
    def talk(self, read_fd, write_fd, its_read_fd, its_write_fd):
        child = subprocess.Popen([PROGRAM, str(its_read_fd), str(its_write_fd)], pass_fds=(its_read_fd, its_write_fd))
        for fd in {its_read_fd, its_write_fd}:
            os.close(fd)
        reader, writer = peer.open_both(read_fd, write_fd)
        peer.drive(reader, writer, SIZES)
        self.assertEqual(child.wait(60), 0)

    def test_over_a_socket(self):
        ours, its = (end.detach() for end in socket.socketpair())
        self.talk(ours, ours, its, its)

    def test_over_two_pipes(self):
        read_fd, its_write_fd = os.pipe()
        its_read_fd, write_fd = os.pipe()
        self.talk(read_fd, write_fd, its_read_fd, its_write_fd)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
