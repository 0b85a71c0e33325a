/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The journal: one JSON object a line in /run/log/journal.json, with the fields that journald
 * gives its entries. Once the host's port is there the file is sent on it, from its beginning.
 */
#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH "/run/log/journal.json"

static FILE *file;
static int kernel_fd = -1;
static int port_fd = -1;
static bool host_is_there = true;
static off_t sent;
static char boot_id[40], machine[72];

static void read_boot_id(void)
{
    FILE *from = fopen("/proc/sys/kernel/random/boot_id", "re");
    size_t length = 0;
    int letter;

    while (from && (letter = fgetc(from)) > ' ' && length < sizeof(boot_id) - 1)
        if (letter != '-')
            boot_id[length++] = (char)letter;
    if (from)
        fclose(from);
}

void journal_open(void)
{
    mkdir("/run/log", 0755);
    file = fopen(PATH, "w+e");
    read_boot_id();
    gethostname(machine, sizeof(machine) - 1);
    kernel_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    journal_say(6, JOURNAL_STARTED, NULL, NULL, 0, "Journal started");
}

int journal_kernel_fd(void)
{
    return kernel_fd;
}

static long long microseconds(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* What is not ASCII is written as Latin-1: services of such a guest have nothing else to say. */
static void put_string(const char *text)
{
    fputc('"', file);
    for (; *text; text++) {
        unsigned char letter = (unsigned char)*text;

        if (letter == '"' || letter == '\\')
            fprintf(file, "\\%c", letter);
        else if (letter < ' ' || letter > '~')
            fprintf(file, "\\u%04x", letter);
        else
            fputc(letter, file);
    }
    fputc('"', file);
}

static void put_field(const char *name, const char *value)
{
    fprintf(file, ",\"%s\":", name);
    put_string(value);
}

void journal_write(int priority, const char *speaker, pid_t pid, const char *message,
                   const struct field *more, size_t count)
{
    if (!file)
        return;
    fseek(file, 0, SEEK_END);
    fprintf(file, "{\"__REALTIME_TIMESTAMP\":\"%lld\",\"__MONOTONIC_TIMESTAMP\":\"%lld\"",
            microseconds(CLOCK_REALTIME), microseconds(CLOCK_MONOTONIC));
    fprintf(file, ",\"PRIORITY\":\"%d\"", priority);
    put_field("_BOOT_ID", boot_id);
    put_field("_HOSTNAME", machine);
    put_field("SYSLOG_IDENTIFIER", speaker);
    if (pid > 0)
        fprintf(file, ",\"_PID\":\"%d\"", (int)pid);
    for (size_t i = 0; i < count; i++)
        if (more[i].value)
            put_field(more[i].name, more[i].value);
    put_field("MESSAGE", message);
    fputs("}\n", file);
    fflush(file);
}

/* What this process says of itself and of units; people at the console see it too. */
void journal_say(int priority, const char *id, const char *unit, const struct field *more,
                 size_t count, const char *format, ...)
{
    struct field fields[8] = {{"MESSAGE_ID", id}, {"UNIT", unit}, {"_TRANSPORT", "journal"}};
    char message[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < count && i + 3 < ARRAY_SIZE(fields); i++)
        fields[i + 3] = more[i];
    journal_write(priority, "init", 1, message, fields, ARRAY_SIZE(fields));
    fprintf(stderr, "init: %s\n", message);
}

/* One record a read: "PRIORITY,SEQUENCE,TIME,FLAGS;MESSAGE", see dev-kmsg in the kernel's ABI. */
void journal_read_kernel(void)
{
    char record[8192];
    ssize_t length;

    while ((length = read(kernel_fd, record, sizeof(record) - 1)) > 0 || errno == EPIPE) {
        if (length <= 0)
            continue;
        record[length] = '\0';
        char *message = strchr(record, ';');
        if (!message)
            continue;
        message[1 + strcspn(message + 1, "\n")] = '\0';
        const struct field fields[] = {{"_TRANSPORT", "kernel"}};
        journal_write(atoi(record) & 7, "kernel", 0, message + 1, fields, 1);
    }
}

void journal_connect(const char *device)
{
    if (port_fd >= 0)
        return;
    port_fd = open(device, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (port_fd < 0)
        return;
    /* The kernel tells by SIGIO when the host opens its end; before that, poll would not wait. */
    fcntl(port_fd, F_SETOWN, getpid());
    fcntl(port_fd, F_SETFL, O_WRONLY | O_NONBLOCK | O_ASYNC);
}

bool journal_is_behind(void)
{
    return port_fd >= 0 && file && ftell(file) > sent;
}

bool journal_wants(struct pollfd *slot)
{
    *slot = (struct pollfd){.fd = port_fd, .events = POLLOUT};
    return host_is_there && journal_is_behind();
}

void journal_retry(void)
{
    host_is_there = true;
}

void journal_send(short events)
{
    char buffer[16384];
    ssize_t length, written;

    if (events & (POLLHUP | POLLERR)) {
        host_is_there = false;
        return;
    }
    length = pread(fileno(file), buffer, sizeof(buffer), sent);
    if (length > 0) {
        written = write(port_fd, buffer, (size_t)length);
        if (written > 0)
            sent += written;
    }
}
