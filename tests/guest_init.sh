#!/usr/bin/busybox sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The init of the small guest of tests: it speaks as systemd does, as far as a boot test listens.
# /usr/lib/guest/fault may override any of its steps, to show what then becomes of the boot.
PATH=/usr/bin:/usr/sbin
export PATH
UNIT=multi-user.target

tell() { # message, priority, more JSON fields
    printf '{"MESSAGE":"%s","PRIORITY":"%s","SYSLOG_IDENTIFIER":"%s","_PID":"%s"%s}\n' \
        "$1" "${2:-6}" "${speaker:-systemd}" "${pid:-1}" "${3:+,$3}" >&4
}
started() {
    tell "Started $1." 6 "\"MESSAGE_ID\":\"39f53479d3a045ac8e11786248231fbf\",\"UNIT\":\"$1\",\"JOB_RESULT\":\"done\""
}
reached() {
    tell "Reached target $1." 6 "\"MESSAGE_ID\":\"39f53479d3a045ac8e11786248231fbf\",\"UNIT\":\"$1\",\"JOB_RESULT\":\"done\""
}
unit_failed() { # unit, result
    tell "$1: Failed with result '$2'." 4 "\"MESSAGE_ID\":\"d9b373ed55a64feb8242e02dbe79a49c\",\"UNIT\":\"$1\",\"UNIT_RESULT\":\"$2\""
}
start_failed() { # unit, result
    tell "Failed to start $1." 3 "\"MESSAGE_ID\":\"be02cf6855d2428ba40df7e9d022f03d\",\"UNIT\":\"$1\",\"JOB_RESULT\":\"$2\""
}
finished() {
    tell "Startup finished in 1s (kernel) + 1s (userspace) = 2s." 6 "\"MESSAGE_ID\":\"b07a249cd024414a82dd00cd181378ff\""
}

early() { :; }
services() { started hello.service; }
target() { reached "$UNIT"; }
late() { :; }
shell() { while :; do /etc/ostci-guest/shell; done; }
rest() { while :; do sleep 1000; done; }

mkdir -p /dev/pts && mount -t devpts devpts /dev/pts
exec </dev/null
journal=$(/etc/ostci-guest/find-port org.ostci.journal.0) && exec 4>"$journal" || exec 4>/dev/null
[ -e /usr/lib/guest/fault ] && . /usr/lib/guest/fault
tell "Journal started" 6 '"MESSAGE_ID":"f77379a8490b408bbe5f6940505a777b"'
early
shell &
services
target
finished
late
rest
