/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Greets whoever reads the journal, once at boot. Whom, is in /etc/greeter.json or, as it came, in
 * /usr/share/greeter/greeter.json. Protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
 */
#include <json.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define GREETING "Good morning"
#define MESSAGE_ID "4f0a5c1e3c2d4a7f9a3b5d6e7f8091a2"
#define JOURNAL "/run/systemd/journal/socket"

static char name[64] = "world";

static bool read_name(const char *path)
{
    struct json_object *settings = json_object_from_file(path), *found;

    if (!settings)
        return false;
    if (json_object_object_get_ex(settings, "name", &found))
        snprintf(name, sizeof(name), "%s", json_object_get_string(found));
    json_object_put(settings);
    return true;
}

static int tell(const char *message)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL};
    char entry[512];
    int length = snprintf(entry, sizeof(entry),
                          "PRIORITY=6\nSYSLOG_IDENTIFIER=greeter\nMESSAGE_ID=%s\nMESSAGE=%s\n",
                          MESSAGE_ID, message);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ssize_t sent = sendto(fd, entry, (size_t)length, 0, (struct sockaddr *)&address, sizeof(address));

    if (fd >= 0)
        close(fd);
    return sent == length ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    char message[128];

    if (argc > 1) {
        fprintf(stderr, "greeter: %s: nothing is known of that\n", argv[1]);
        return 2;
    }
    if (!read_name("/etc/greeter.json"))
        read_name("/usr/share/greeter/greeter.json");
    snprintf(message, sizeof(message), "%s, %s!", GREETING, name);
    puts(message);
    return tell(message);
}
