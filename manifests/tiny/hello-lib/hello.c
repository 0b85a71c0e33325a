/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hello.h"

#include <stdio.h>

int hello_greet(char *buffer, unsigned long size, const char *name)
{
    return snprintf(buffer, size, "Hello, %s!", name);
}
