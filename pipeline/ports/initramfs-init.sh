#!/bin/busybox sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The first process of a machine: finds the root file system, lets ostree-prepare-root put the
# deployment over it, and becomes the deployment's init. What goes wrong is told on the console
# in one line that starts with "ostci-initramfs:"; then the kernel panics, as for any dead init.

PATH=/bin
export PATH

# The kernel's log is on the console before its panic is; what is written to the console itself may
# come after that, or be lost. Its level is one that "quiet" does not hide.
die() {
    echo "<2>ostci-initramfs: $*" >/dev/kmsg || echo "ostci-initramfs: $*" >/dev/console
    exit 1
}

/bin/busybox --install -s /bin 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs -o mode=0755,nosuid devtmpfs /dev
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs /run

root="" flags="" fstype=ext4 access=ro init=/sbin/init wait_s=20
for word in $(cat /proc/cmdline); do
    case $word in
        root=*) root=${word#root=} ;;
        rootflags=*) flags=,${word#rootflags=} ;;
        rootfstype=*) fstype=${word#rootfstype=} ;;
        rootdelay=*) wait_s=${word#rootdelay=} ;;
        ro | rw) access=$word ;;
        init=*) init=${word#init=} ;;
    esac
done
[ -n "$root" ] || die "no root= in the kernel's options"

# In the order in which they need each other. One that the machine has no use for may fail.
while read -r module; do
    insmod "$module" 2>/dev/null
done </modules

find_root() {
    case $root in
        LABEL=* | UUID=*) device=$(findfs "$root" 2>/dev/null) ;;
        *) device=$root ;;
    esac
    [ -b "$device" ]
}

# Devices appear when the kernel has probed them, and nobody tells: a short poll, with an end.
left=$((wait_s * 10))
until find_root; do
    [ "$left" -gt 0 ] || die "root $root did not appear within $wait_s s; there are:" \
        $(cd /sys/class/block && echo *)
    left=$((left - 1))
    sleep 0.1
done

mount -t "$fstype" -o "$access$flags" "$device" /sysroot ||
    die "root $root ($device) cannot be mounted as $fstype"
# Asks for /var to be mounted here already: not every init has systemd's generator for it.
mkdir -p /run/ostree && : >/run/ostree/initramfs-mount-var
/usr/lib/ostree/ostree-prepare-root /sysroot ||
    die "ostree-prepare-root failed: is ostree= in the kernel's options a deployment of $root?"

# Links are followed by hand: absolute ones mean the root to come, not this one.
real=$init
for _ in 1 2 3 4 5 6 7 8; do
    [ -L "/sysroot$real" ] || break
    to=$(readlink "/sysroot$real")
    case $to in
        /*) real=$to ;;
        *) real=${real%/*}/$to ;;
    esac
done
[ -x "/sysroot$real" ] || die "the tree has no init: $init is missing or cannot be run"

for point in dev proc sys run; do
    mount --move "/$point" "/sysroot/$point"
done
exec switch_root /sysroot "$init"
