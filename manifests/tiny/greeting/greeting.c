/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Says once, at boot, who is there. What it writes is in the journal of its service. */
#include <stdio.h>
#include <sys/utsname.h>

#define GREETING "Good morning"

int main(void)
{
    struct utsname system;

    if (uname(&system) != 0)
        return 1;
    printf("%s from %s on %s %s\n", GREETING, system.nodename, system.sysname, system.release);
    return 0;
}
