/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef HELLO_H
#define HELLO_H

/* Write a greeting for name to buffer, which has room for size bytes; tells its length. */
int hello_greet(char *buffer, unsigned long size, const char *name);

#endif
