/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The first process: mounts what a system needs, waits for whatever happens, and turns the machine
 * off in order. Called as reboot, poweroff or halt it asks the first process for that.
 *
 * Signals are busybox's: SIGTERM and SIGINT reboot, SIGUSR2 and SIGPWR power off, SIGUSR1 halts.
 */
#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_TARGET "multi-user.target"
#define MOST_POLLS 64
#define GRACE_MS 2000

static int events_fd, signals_fd;
static int end; /* what reboot(2) is to be asked for; 0 while the machine is to run */

static void make_mount(const char *type, const char *place, unsigned long flags, const char *data)
{
    mkdir(place, 0755);
    if (mount(type, place, type, flags, data) != 0 && errno != EBUSY)
        fprintf(stderr, "init: cannot mount %s: %s\n", place, strerror(errno));
}

static bool is_mounted(const char *place)
{
    struct stat here, above;
    char parent[64];

    snprintf(parent, sizeof(parent), "%s/..", place);
    return stat(place, &here) == 0 && stat(parent, &above) == 0 && here.st_dev != above.st_dev;
}

static void prepare_mounts(void)
{
    const unsigned long safe = MS_NOSUID | MS_NODEV;

    if (!is_mounted("/proc"))
        make_mount("proc", "/proc", safe | MS_NOEXEC, NULL);
    if (!is_mounted("/sys"))
        make_mount("sysfs", "/sys", safe | MS_NOEXEC, NULL);
    if (!is_mounted("/dev"))
        make_mount("devtmpfs", "/dev", MS_NOSUID, "mode=0755");
    if (!is_mounted("/run"))
        make_mount("tmpfs", "/run", safe, "mode=0755");
    make_mount("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666");
    make_mount("tmpfs", "/dev/shm", safe, "mode=1777");
    mkdir("/var/roothome", 0700);
    mkdir("/var/tmp", 01777);
    mkdir("/var/log", 0755);
}

static void prepare_process(void)
{
    setenv("PATH", "/usr/sbin:/usr/bin:/usr/lib/tiny/bin", 1);
    setenv("HOME", "/root", 1);
    setenv("TERM", "linux", 1);
    setsid();
    umask(022);
    (void)!chdir("/");
    (void)!sethostname("tiny", 4);
    reboot(RB_DISABLE_CAD); /* Ctrl-Alt-Del becomes SIGINT */
}

static const char *wanted_target(void)
{
    static char line[4096];
    FILE *file = fopen("/proc/cmdline", "re");
    char *rest = NULL;
    const char *found = DEFAULT_TARGET;

    if (file && fgets(line, sizeof(line), file))
        for (char *word = strtok_r(line, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
            if (strncmp(word, "systemd.unit=", 13) == 0)
                found = word + 13;
    if (file)
        fclose(file);
    return found;
}

static int open_signals(void)
{
    static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGPWR, SIGIO};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        services_ended(pid, status);
}

static void read_signals(void)
{
    struct signalfd_siginfo info;

    while (read(signals_fd, &info, sizeof(info)) == sizeof(info)) {
        switch (info.ssi_signo) {
        case SIGCHLD:
            reap();
            break;
        case SIGIO:
            journal_retry();
            break;
        case SIGUSR1:
            end = RB_HALT_SYSTEM;
            break;
        case SIGUSR2:
        case SIGPWR:
            end = RB_POWER_OFF;
            break;
        default:
            end = RB_AUTOBOOT;
        }
    }
}

static size_t collect(struct pollfd *slots)
{
    size_t used = 0;

    slots[used++] = (struct pollfd){.fd = signals_fd, .events = POLLIN};
    slots[used++] = (struct pollfd){.fd = events_fd, .events = POLLIN};
    slots[used++] = (struct pollfd){.fd = journal_kernel_fd(), .events = POLLIN};
    used += services_polls(slots + used, MOST_POLLS - used - 1);
    used += devices_polls(slots + used, MOST_POLLS - used - 1);
    if (journal_wants(&slots[used]))
        used++;
    return used;
}

static void go_round(int timeout_ms)
{
    struct pollfd slots[MOST_POLLS];
    size_t used = collect(slots);

    if (poll(slots, used, timeout_ms) <= 0)
        return;
    for (size_t i = 0; i < used; i++) {
        int fd = slots[i].fd;

        if (!slots[i].revents)
            continue;
        if (fd == signals_fd)
            read_signals();
        else if (fd == events_fd)
            devices_events(fd);
        else if (fd == journal_kernel_fd())
            journal_read_kernel();
        else if (slots[i].events & POLLOUT)
            journal_send(slots[i].revents);
        else if (!devices_have(fd))
            services_read(fd);
        else if (devices_power_pressed(fd))
            end = RB_POWER_OFF;
    }
}

/* The kernel has these as modules; without them nobody hears the power button. */
static void load_power_button(void)
{
    static char *const argv[] = {"/bin/busybox", "modprobe", "-a", "-q", "evdev", "button", NULL};
    pid_t pid = fork();

    if (pid == 0) {
        execv(argv[0], argv);
        _exit(1);
    }
}

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static _Noreturn void shut_down(void)
{
    long long until = now_ms() + GRACE_MS;
    bool killed = false;

    journal_say(5, SHUTDOWN, NULL, NULL, 0, "System is %s.",
                end == RB_AUTOBOOT ? "rebooting" : "powering down");
    services_stop();
    while (services_alive() && now_ms() < until + (killed ? GRACE_MS : 0)) {
        go_round(50);
        reap();
        if (!killed && now_ms() >= until) {
            kill(-1, SIGKILL);
            killed = true;
        }
    }
    journal_say(6, JOURNAL_STOPPED, NULL, NULL, 0, "Journal stopped");
    for (until = now_ms() + GRACE_MS; journal_is_behind() && now_ms() < until;)
        go_round(50);
    sync();
    mount(NULL, "/sysroot", NULL, MS_REMOUNT | MS_RDONLY, NULL);
    mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
    sync();
    reboot(end);
    for (;;)
        pause();
}

static int ask_for(const char *name)
{
    int number = strcmp(name, "reboot") == 0 ? SIGTERM : strcmp(name, "halt") == 0 ? SIGUSR1 : SIGUSR2;

    if (kill(1, number) != 0) {
        fprintf(stderr, "%s: %s\n", name, strerror(errno));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];

    (void)argc;
    if (getpid() != 1)
        return ask_for(name);
    prepare_process();
    prepare_mounts();
    signals_fd = open_signals();
    journal_open();
    events_fd = devices_open();
    devices_scan();
    services_start(wanted_target());
    load_power_button();
    while (!end) {
        services_tick();
        go_round(services_timeout());
    }
    shut_down();
}
