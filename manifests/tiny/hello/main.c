/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hello.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    char line[200];

    hello_greet(line, sizeof(line), argc > 1 ? argv[1] : "world");
    puts(line);
    return 0;
}
