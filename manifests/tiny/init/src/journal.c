/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The journal: one JSON object a line in /run/log/journal.json, with the fields that journald
 * gives its entries. Once the host's port is there the file is sent on it, from its beginning.
 * It is in memory, so that its older half goes when it is full, and all where there is no room
 * even for that; the journal then says whether the host had read it.
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
#define SPARE PATH ".new"
#define MOST_BYTES (16 << 20) /* of the file, which is in memory */
#define RECORDS 64            /* of the kernel a round: services are heard, too */

static int fd = -1;
static off_t size;
static char entry[64 << 10]; /* the kernel's longest record fits in, each letter of it escaped */
static size_t length;
static char chunk[64 << 10]; /* longer than any line */
static int kernel_fd = -1;
static int port_fd = -1;
static bool host_is_there = true;
static off_t sent, forgotten;
static bool torn; /* the host has the beginning of a line whose end was forgotten */
static unsigned long missed;
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
    fd = open(PATH, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
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

static void put(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void put(const char *format, ...)
{
    va_list arguments;
    int added;

    va_start(arguments, format);
    added = vsnprintf(entry + length, sizeof(entry) - length, format, arguments);
    va_end(arguments);
    length = added < (int)(sizeof(entry) - length) ? length + (size_t)added : sizeof(entry) - 1;
}

/* What is not ASCII is written as Latin-1: services of such a guest have nothing else to say. */
static void put_string(const char *text)
{
    put("\"");
    for (; *text && length < sizeof(entry) - 16; text++) {
        unsigned char letter = (unsigned char)*text;

        if (letter == '"' || letter == '\\')
            put("\\%c", letter);
        else if (letter < ' ' || letter > '~')
            put("\\u%04x", letter);
        else
            entry[length++] = (char)letter;
    }
    put("\"");
}

static void put_field(const char *name, const char *value)
{
    put(",\"%s\":", name);
    put_string(value);
}

static off_t second_half(void)
{
    off_t from = size / 2;
    ssize_t found = pread(fd, chunk, sizeof(chunk), from);
    char *end = found > 0 ? memchr(chunk, '\n', (size_t)found) : NULL;

    return end ? from + (end + 1 - chunk) : size;
}

static bool copy_rest(off_t from, int into)
{
    ssize_t found;

    for (; (found = pread(fd, chunk, sizeof(chunk), from)) > 0; from += found)
        if (write(into, chunk, (size_t)found) != found)
            return false;
    return found == 0;
}

static bool is_amid_a_line(off_t place)
{
    char before = '\n';

    return place > 0 && pread(fd, &before, 1, place - 1) == 1 && before != '\n';
}

/* Of whole lines. All of it goes where there is no room for a copy of the rest. */
static void forget_oldest(void)
{
    off_t from = second_half();
    bool amid_a_line = is_amid_a_line(sent);
    int spare = open(SPARE, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);

    if (spare >= 0 && copy_rest(from, spare) && rename(SPARE, PATH) == 0) {
        close(fd);
        fd = spare;
    } else {
        from = size;
        (void)!ftruncate(fd, 0);
        unlink(SPARE);
        if (spare >= 0)
            close(spare);
    }
    if (sent < from) {
        torn |= amid_a_line;
        forgotten += from - sent;
        sent = from;
    }
    sent -= from;
    size -= from;
}

/* Each is forgotten before it is told: what tells it is an entry, too. */
static void tell_losses(void)
{
    long long bytes = port_fd >= 0 ? forgotten : 0;
    unsigned long entries = missed;

    forgotten = 0;
    missed = 0;
    if (bytes)
        journal_say(4, NULL, NULL, NULL, 0, "Forgot %lld bytes that the host had not read.", bytes);
    if (entries)
        journal_say(4, NULL, NULL, NULL, 0, "Lost %lu entries: no room for them.", entries);
}

static bool append(void)
{
    if (write(fd, entry, length) == (ssize_t)length) {
        size += (off_t)length;
        return true;
    }
    (void)!ftruncate(fd, size);
    return false;
}

static void keep(void)
{
    if (size >= MOST_BYTES)
        forget_oldest();
    if (append()) {
        tell_losses();
        return;
    }
    forget_oldest();
    if (append())
        tell_losses();
    else
        missed++;
}

/* Returns the bytes that the entry has, kept or not. */
size_t journal_write(int priority, const char *speaker, pid_t pid, const char *message,
                     const struct field *more, size_t count)
{
    size_t whole;

    if (fd < 0)
        return 0;
    length = 0;
    put("{\"__REALTIME_TIMESTAMP\":\"%lld\",\"__MONOTONIC_TIMESTAMP\":\"%lld\"",
        microseconds(CLOCK_REALTIME), microseconds(CLOCK_MONOTONIC));
    put(",\"PRIORITY\":\"%d\"", priority);
    put_field("_BOOT_ID", boot_id);
    put_field("_HOSTNAME", machine);
    put_field("SYSLOG_IDENTIFIER", speaker);
    if (pid > 0)
        put(",\"_PID\":\"%d\"", (int)pid);
    for (size_t i = 0; i < count; i++)
        if (more[i].value)
            put_field(more[i].name, more[i].value);
    put_field("MESSAGE", message);
    put("}\n");
    whole = length;
    keep();
    return whole;
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
    ssize_t found;

    for (int left = RECORDS; left > 0; left--) {
        found = read(kernel_fd, record, sizeof(record) - 1);
        if (found <= 0 && errno == EPIPE)
            continue; /* some were overwritten before they were read */
        if (found <= 0)
            break;
        record[found] = '\0';
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
    return port_fd >= 0 && size > sent;
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
    ssize_t found, written;

    if (events & (POLLHUP | POLLERR)) {
        host_is_there = false;
        return;
    }
    if (torn && write(port_fd, "\n", 1) != 1)
        return;
    torn = false;
    found = pread(fd, buffer, sizeof(buffer), sent);
    written = found > 0 ? write(port_fd, buffer, (size_t)found) : 0;
    if (written > 0)
        sent += written;
}
