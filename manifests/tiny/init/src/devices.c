/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices, as the kernel tells of them: the host's two ports, found by their names, and every
 * input device that has a power button. There is no udev; devtmpfs makes the nodes.
 */
#define _GNU_SOURCE
#include "init.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/input.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORTS "/sys/class/virtio-ports"
#define MOST_BUTTONS 8

static struct {
    char name[32];
    int fd;
} buttons[MOST_BUTTONS];
static size_t button_count;

int devices_open(void)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

    if (fd >= 0)
        bind(fd, (struct sockaddr *)&address, sizeof(address));
    mkdir("/dev/virtio-ports", 0755);
    return fd;
}

static void read_name(const char *port, char *name, size_t room)
{
    char path[320];
    FILE *file;

    snprintf(path, sizeof(path), PORTS "/%s/name", port);
    file = fopen(path, "re");
    if (!file || !fgets(name, (int)room, file))
        name[0] = '\0';
    if (file)
        fclose(file);
    name[strcspn(name, "\n")] = '\0';
}

static void scan_ports(void)
{
    DIR *directory = opendir(PORTS);
    struct dirent *entry;

    while (directory && (entry = readdir(directory))) {
        char name[64], device[300], link[128];

        if (entry->d_name[0] == '.')
            continue;
        read_name(entry->d_name, name, sizeof(name));
        snprintf(device, sizeof(device), "/dev/%s", entry->d_name);
        if (!name[0] || strchr(name, '/') || access(device, F_OK) != 0)
            continue;
        snprintf(link, sizeof(link), "/dev/virtio-ports/%s", name);
        (void)!symlink(device, link);
        if (strcmp(name, JOURNAL_PORT) == 0)
            journal_connect(device);
        else if (strcmp(name, SHELL_PORT) == 0)
            services_shell(device);
    }
    if (directory)
        closedir(directory);
}

static bool has_power_button(int fd)
{
    unsigned char keys[KEY_MAX / 8 + 1] = {0};

    return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
           (keys[KEY_POWER / 8] >> (KEY_POWER % 8) & 1);
}

static bool is_known(const char *name)
{
    for (size_t i = 0; i < button_count; i++)
        if (strcmp(buttons[i].name, name) == 0)
            return true;
    return false;
}

static void scan_buttons(void)
{
    DIR *directory = opendir("/dev/input");
    struct dirent *entry;

    while (directory && (entry = readdir(directory)) && button_count < MOST_BUTTONS) {
        int fd;

        if (strncmp(entry->d_name, "event", 5) != 0 || strlen(entry->d_name) > 31 ||
            is_known(entry->d_name))
            continue;
        fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (!has_power_button(fd)) {
            close(fd);
            continue;
        }
        strcpy(buttons[button_count].name, entry->d_name);
        buttons[button_count++].fd = fd;
    }
    if (directory)
        closedir(directory);
}

void devices_scan(void)
{
    scan_ports();
    scan_buttons();
}

/* What an event says is not read: it means that something is worth a look. */
void devices_events(int fd)
{
    char event[4096];

    while (recv(fd, event, sizeof(event), 0) > 0)
        continue;
    devices_scan();
}

size_t devices_polls(struct pollfd *slots, size_t room)
{
    size_t count = button_count < room ? button_count : room;

    for (size_t i = 0; i < count; i++)
        slots[i] = (struct pollfd){.fd = buttons[i].fd, .events = POLLIN};
    return count;
}

bool devices_have(int fd)
{
    for (size_t i = 0; i < button_count; i++)
        if (buttons[i].fd == fd)
            return true;
    return false;
}

bool devices_power_pressed(int fd)
{
    struct input_event event;
    bool pressed = false;

    while (read(fd, &event, sizeof(event)) == sizeof(event))
        pressed |= event.type == EV_KEY && event.code == KEY_POWER && event.value == 1;
    return pressed;
}
