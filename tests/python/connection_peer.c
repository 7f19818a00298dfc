/* A C program that a Python program starts: sends back what comes over inherited descriptors.
 * SPDX-License-Identifier: MIT */
#include <mproc.h>
#include <stdio.h>
#include <stdlib.h>

static int echo(mproc_connection *reader, mproc_connection *writer)
{
    for (const void *data;;) {
        size_t size;
        int err = mproc_connection_receive_borrowed(reader, &data, &size, MPROC_FOREVER);
        if (err == 0)
            err = mproc_connection_send(writer, data, size, MPROC_FOREVER);
        if (err < 0)
            return err;
    }
}

int main(int argc, char **argv)
{
    mproc_connection *reader = NULL, *writer = NULL;
    if (argc != 3)
        return 2;
    int err = mproc_connection_open(&reader, atoi(argv[1]));
    if (err == 0 && atoi(argv[1]) != atoi(argv[2]))
        err = mproc_connection_open(&writer, atoi(argv[2]));
    if (err == 0)
        err = echo(reader, writer ? writer : reader);
    mproc_connection_close(reader);
    mproc_connection_close(writer);
    if (err == MPROC_E_END_OF_STREAM)
        return 0;
    fprintf(stderr, "connection_peer: %s\n", mproc_strerror(err));
    return 1;
}
