/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A first process for guests that boot in seconds: what its parts know of each other. */
#ifndef TINY_INIT_H
#define TINY_INIT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define MOST_SERVICES 32

/* Message ids of systemd, see sd-messages.h: whoever reads the journal of a guest knows them. */
#define JOURNAL_STARTED "f77379a8490b408bbe5f6940505a777b"
#define JOURNAL_DROPPED "a596d6fe7bfa4994828e72309e95d61e"
#define JOURNAL_STOPPED "d93fb3c9c24d451a97cea615ce59c00b"
#define UNIT_STARTING "7d4958e842da4a758f6c1cdc7b36dcc5"
#define UNIT_STARTED "39f53479d3a045ac8e11786248231fbf"
#define UNIT_FAILED "d9b373ed55a64feb8242e02dbe79a49c"
#define START_FAILED "be02cf6855d2428ba40df7e9d022f03d"
#define STARTUP_FINISHED "b07a249cd024414a82dd00cd181378ff"
#define SHUTDOWN "98268866d1d54a499c4e98921d93bc40"

#define JOURNAL_PORT "org.ostci.journal.0"
#define SHELL_PORT "org.ostci.shell.0"

/* journal.c: entries in one file, as journalctl -o json prints them, and a port they go to. */
struct field {
    const char *name;
    const char *value;
};
void journal_open(void);
size_t journal_write(int priority, const char *speaker, pid_t pid, const char *message,
                     const struct field *more, size_t count);
void journal_say(int priority, const char *id, const char *unit, const struct field *more,
                 size_t count, const char *format, ...) __attribute__((format(printf, 6, 7)));
void journal_read_kernel(void);
int journal_kernel_fd(void);
void journal_connect(const char *device);
bool journal_wants(struct pollfd *slot);
void journal_send(short events);
void journal_retry(void);
bool journal_is_behind(void);

/* services.c: what is started, and whether the target is reached. */
void services_start(const char *target);
void services_shell(const char *device);
void services_console(void);
size_t services_polls(struct pollfd *slots, size_t room);
void services_read(int fd);
void services_ended(pid_t pid, int status);
void services_tick(void);
int services_timeout(void);
void services_stop(void);
bool services_alive(void);

/* devices.c: what the kernel tells of devices: ports and the power button. */
int devices_open(void);
void devices_scan(void);
void devices_events(int fd);
size_t devices_polls(struct pollfd *slots, size_t room);
bool devices_have(int fd);
bool devices_power_pressed(int fd);

#endif
