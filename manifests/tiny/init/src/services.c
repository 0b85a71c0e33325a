/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Services: each is a file NAME.service of one line, "KIND NEED COMMAND...", in /etc/tiny or
 * /usr/lib/tiny, the first of which wins. KIND is "oneshot" (ends, then it is started) or "simple"
 * (runs on); NEED is "required" (the target is missed without it) or "wanted". What a service
 * writes goes to the journal, line by line; of who writes too much, what is beyond that is dropped
 * and counted, so that neither the service nor anybody else waits for it.
 */
#define _GNU_SOURCE
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_WORDS 32
#define CANNOT_RUN 203 /* as systemd says it: 203/EXEC */
#define AGAIN_MS 1000
#define READS 1      /* of 8 KiB a round: who never pauses must not keep all else waiting */
#define LAST_READS 8 /* what a pipe holds */
#define MOST_BYTES (2 << 20) /* of the journal, for what a service says in so many milliseconds */
#define WINDOW_MS 5000

enum state { STARTING, STARTED, FAILED };

struct service {
    char unit[80], name[72], line[512];
    char *argv[MOST_WORDS];
    bool oneshot, required, settled;
    enum state state;
    pid_t pid;
    int output;
    char text[1024];
    size_t length;
    long long window_ends;
    size_t written;
    unsigned long dropped;
};

static const char *const places[] = {"/etc/tiny/services", "/usr/lib/tiny/services"};
static struct service services[MOST_SERVICES];
static size_t count;
static char target[80];
static bool target_known, console_wanted;
static char shell_port[64];
static pid_t shell_pid, console_pid;
static long long shell_after, console_after;

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void fresh_signals(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Reading */

static bool parse(struct service *service)
{
    char *rest = NULL, *word = strtok_r(service->line, " \t\n", &rest);
    size_t words = 0;

    service->oneshot = word && strcmp(word, "oneshot") == 0;
    if (!service->oneshot && (!word || strcmp(word, "simple") != 0))
        return false;
    word = strtok_r(NULL, " \t\n", &rest);
    service->required = word && strcmp(word, "required") == 0;
    if (!service->required && (!word || strcmp(word, "wanted") != 0))
        return false;
    while ((word = strtok_r(NULL, " \t\n", &rest)) && words < MOST_WORDS - 1)
        service->argv[words++] = word;
    return words > 0;
}

static bool is_known(const char *unit)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(services[i].unit, unit) == 0)
            return true;
    return false;
}

static void read_service(int directory, const char *unit)
{
    struct service *service = &services[count];
    FILE *file = NULL;
    int fd = openat(directory, unit, O_RDONLY | O_CLOEXEC);

    memset(service, 0, sizeof(*service));
    service->output = -1;
    snprintf(service->unit, sizeof(service->unit), "%.79s", unit);
    snprintf(service->name, sizeof(service->name), "%.*s", (int)strlen(unit) - 8, unit);
    if (fd >= 0)
        file = fdopen(fd, "r");
    while (file && fgets(service->line, sizeof(service->line), file) &&
           (service->line[0] == '#' || service->line[0] == '\n'))
        continue;
    if (file)
        fclose(file);
    if (parse(service))
        count++;
    else
        journal_say(3, NULL, unit, NULL, 0, "%s: not a line such as: simple wanted /bin/it", unit);
}

static int by_name(const struct dirent **one, const struct dirent **other)
{
    return strcmp((*one)->d_name, (*other)->d_name);
}

static int is_service(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return length > 8 && length < 72 && strcmp(entry->d_name + length - 8, ".service") == 0;
}

static void read_services(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        struct dirent **names;
        int directory = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int found = directory < 0 ? 0 : scandirat(directory, ".", &names, is_service, by_name);

        for (int n = 0; n < found; n++) {
            if (count < MOST_SERVICES && !is_known(names[n]->d_name))
                read_service(directory, names[n]->d_name);
            free(names[n]);
        }
        if (found > 0)
            free(names);
        if (directory >= 0)
            close(directory);
    }
}

/* Starting */

static void failed(struct service *service, const char *how, const char *result)
{
    const struct field unit[] = {{"UNIT_RESULT", result}};
    const struct field job[] = {{"JOB_TYPE", "start"}, {"JOB_RESULT", "failed"}};

    journal_say(4, UNIT_FAILED, service->unit, unit, 1, "%s: Failed with result '%s' (%s).",
                service->unit, result, how);
    if (service->state == STARTING)
        journal_say(3, START_FAILED, service->unit, job, 2, "Failed to start %s.", service->unit);
    service->state = FAILED;
    service->settled = true;
}

static void started(struct service *service)
{
    const struct field job[] = {{"JOB_TYPE", "start"}, {"JOB_RESULT", "done"}};

    service->state = STARTED;
    service->settled = true;
    journal_say(6, UNIT_STARTED, service->unit, job, 2, "%s %s.",
                service->oneshot ? "Finished" : "Started", service->unit);
}

static void become(struct service *service, int output, int error)
{
    int null = open("/dev/null", O_RDONLY);

    fresh_signals();
    setsid();
    dup2(null, 0);
    dup2(output, 1);
    dup2(output, 2);
    execv(service->argv[0], service->argv);
    (void)!write(error, &errno, sizeof(errno));
    _exit(CANNOT_RUN);
}

static void start(struct service *service)
{
    int output[2], error[2], number = 0;

    journal_say(6, UNIT_STARTING, service->unit, NULL, 0, "Starting %s...", service->unit);
    if (pipe2(output, O_CLOEXEC) != 0 || pipe2(error, O_CLOEXEC) != 0) {
        failed(service, strerror(errno), "resources");
        return;
    }
    service->pid = fork();
    if (service->pid == 0)
        become(service, output[1], error[1]);
    close(output[1]);
    close(error[1]);
    service->output = output[0];
    fcntl(service->output, F_SETFL, O_NONBLOCK);
    /* Closed by a program that could be started; else it says why it could not. */
    if (read(error[0], &number, sizeof(number)) == sizeof(number))
        journal_say(3, NULL, service->unit, NULL, 0, "%s: %s: %s", service->unit,
                    service->argv[0], strerror(number));
    else if (!service->oneshot)
        started(service);
    close(error[0]);
}

static void judge_target(void)
{
    const struct field done[] = {{"JOB_TYPE", "start"}, {"JOB_RESULT", "done"}};
    const struct field lost[] = {{"JOB_TYPE", "start"}, {"JOB_RESULT", "dependency"}};
    bool reached = true;
    struct timespec now;

    if (target_known)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!services[i].settled)
            return;
        reached &= services[i].state != FAILED || !services[i].required;
    }
    target_known = console_wanted = true;
    if (reached)
        journal_say(6, UNIT_STARTED, target, done, 2, "Reached target %s.", target);
    else
        journal_say(3, START_FAILED, target, lost, 2, "Dependency failed for %s.", target);
    clock_gettime(CLOCK_MONOTONIC, &now);
    journal_say(6, STARTUP_FINISHED, NULL, NULL, 0, "Startup finished in %lld.%03lds.",
                (long long)now.tv_sec, now.tv_nsec / 1000000);
}

void services_start(const char *wanted)
{
    snprintf(target, sizeof(target), "%s", wanted);
    read_services();
    for (size_t i = 0; i < count; i++)
        start(&services[i]);
    judge_target();
}

/* What services say */

static void say_line(struct service *service)
{
    const struct field fields[] = {{"_SYSTEMD_UNIT", service->unit}, {"_TRANSPORT", "stdout"}};

    service->text[service->length] = '\0';
    if (service->length && service->written >= MOST_BYTES)
        service->dropped++;
    else if (service->length)
        service->written +=
            journal_write(6, service->name, service->pid, service->text, fields, 2);
    service->length = 0;
}

/* In the words of journald. */
static void say_dropped(struct service *service)
{
    char number[24];
    const struct field fields[] = {{"N_DROPPED", number}};

    if (!service->dropped)
        return;
    snprintf(number, sizeof(number), "%lu", service->dropped);
    service->dropped = 0;
    journal_say(4, JOURNAL_DROPPED, service->unit, fields, 1, "Suppressed %s messages from %s",
                number, service->unit);
}

static void renew(struct service *service)
{
    long long now = now_ms();

    if (now < service->window_ends)
        return;
    say_dropped(service);
    service->written = 0;
    service->window_ends = now + WINDOW_MS;
}

size_t services_polls(struct pollfd *slots, size_t room)
{
    size_t used = 0;

    for (size_t i = 0; i < count && used < room; i++)
        if (services[i].output >= 0)
            slots[used++] = (struct pollfd){.fd = services[i].output, .events = POLLIN};
    return used;
}

static void read_output(struct service *service, int reads)
{
    char buffer[8192];
    ssize_t length = 1;

    renew(service);
    while (reads-- > 0 && (length = read(service->output, buffer, sizeof(buffer))) > 0)
        for (ssize_t i = 0; i < length; i++) {
            if (buffer[i] == '\n' || service->length == sizeof(service->text) - 1)
                say_line(service);
            if (buffer[i] != '\n')
                service->text[service->length++] = buffer[i];
        }
    if (length == 0) {
        say_line(service);
        close(service->output);
        service->output = -1;
    }
}

void services_read(int fd)
{
    for (size_t i = 0; i < count; i++)
        if (services[i].output == fd)
            read_output(&services[i], READS);
}

/* Ends */

static void ended(struct service *service, int status)
{
    char how[64];

    if (service->output >= 0)
        read_output(service, LAST_READS);
    say_line(service);
    say_dropped(service);
    service->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        if (service->state == STARTING)
            started(service);
        return;
    }
    if (WIFSIGNALED(status))
        snprintf(how, sizeof(how), "killed by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof(how), "exit code %d", WEXITSTATUS(status));
    failed(service, how, WIFSIGNALED(status) ? "signal" : "exit-code");
}

void services_ended(pid_t pid, int status)
{
    for (size_t i = 0; i < count; i++)
        if (services[i].pid == pid)
            ended(&services[i], status);
    if (pid == shell_pid) {
        shell_pid = 0;
        shell_after = now_ms() + AGAIN_MS;
    }
    if (pid == console_pid) {
        console_pid = 0;
        console_after = now_ms() + AGAIN_MS;
    }
    judge_target();
}

/* The host's shell, and the one at the console */

void services_shell(const char *device)
{
    snprintf(shell_port, sizeof(shell_port), "%s", device);
}

static pid_t run_shell(char *const argv[], const char *terminal)
{
    pid_t pid = fork();
    int fd;

    if (pid != 0)
        return pid;
    fresh_signals();
    setsid();
    fd = open(terminal, O_RDWR);
    if (fd >= 0) {
        dup2(fd, 0);
        dup2(fd, 1);
        dup2(fd, 2);
        ioctl(fd, TIOCSCTTY, 1);
        if (fd > 2)
            close(fd);
    }
    (void)!chdir("/root");
    execv(argv[0], argv);
    _exit(CANNOT_RUN);
}

static const char *console_device(void)
{
    static char path[80];
    char names[128] = "", *last;
    FILE *file = fopen("/sys/class/tty/console/active", "re");

    if (file && fgets(names, sizeof(names), file))
        names[strcspn(names, "\n")] = '\0';
    if (file)
        fclose(file);
    last = strrchr(names, ' ');
    snprintf(path, sizeof(path), "/dev/%.60s", names[0] ? (last ? last + 1 : names) : "console");
    return path;
}

void services_console(void)
{
    console_wanted = true;
}

void services_tick(void)
{
    static char *const console[] = {"/bin/busybox", "sh", "-l", NULL};
    char *const shell[] = {"/bin/sh", "/etc/ostci-guest/shell", shell_port, NULL};

    for (size_t i = 0; i < count; i++)
        if (services[i].dropped)
            renew(&services[i]);
    if (!shell_pid && shell_port[0] && now_ms() >= shell_after && access(shell[1], R_OK) == 0)
        shell_pid = run_shell(shell, "/dev/null");
    if (!console_pid && console_wanted && now_ms() >= console_after)
        console_pid = run_shell(console, console_device());
}

/* How long poll may wait before a shell is due again, or to be told what was dropped. */
int services_timeout(void)
{
    bool due = (!shell_pid && shell_port[0]) || (!console_pid && console_wanted);

    for (size_t i = 0; i < count; i++)
        due |= services[i].dropped > 0;
    return due ? AGAIN_MS : -1;
}

/* The end of it all */

void services_stop(void)
{
    target_known = true;
    shell_port[0] = '\0';
    console_wanted = false;
    kill(-1, SIGTERM);
    kill(-1, SIGHUP);
    kill(-1, SIGCONT);
}

/* Orphans become children of the first process, so that having none means that all are gone. */
bool services_alive(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}
