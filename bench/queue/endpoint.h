/* Names of sockets for those who want them in the file system. SPDX-License-Identifier: MIT */
#ifndef BENCH_QUEUE_ENDPOINT_H
#define BENCH_QUEUE_ENDPOINT_H

enum { ENDPOINT_SIZE = 96 };

int endpoint_create(void); /* a folder; 0 or a negative errno */
void endpoint_name(char name[ENDPOINT_SIZE], int number);
void endpoint_destroy(void);

#endif
