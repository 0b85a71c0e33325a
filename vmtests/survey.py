# SPDX-License-Identifier: LGPL-2.1-or-later
"""What most suites want to know of a guest, asked in one go.

Without KVM each program that a guest starts costs a good part of a second, so the slow ones run
side by side there. How a script comes into the guest is not known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PROGRAMS = ("systemctl", "ostree")
"""The programs whose presence a survey tells."""

SCRIPT = """\
place=/run/ostci-survey
mkdir -p $place
if command -v systemctl >/dev/null; then
    echo "has systemctl"
    systemctl list-units --failed --plain --no-legend --no-pager >$place/failed &
fi
if command -v ostree >/dev/null; then
    echo "has ostree"
    ostree admin status >$place/status 2>&1 &
fi
read -r words </proc/cmdline
for word in $words; do
    case $word in ostree=*) at=${word#ostree=} ;; esac
done
if [ -n "$at" ] && real=$(readlink -f "/sysroot$at"); then
    echo "deployment ${real##*/}" $(stat -c %d:%i / "$real")
else
    echo "deployment"
fi
wait
for topic in failed status; do
    [ ! -e $place/$topic ] || while read -r line; do echo "$topic $line"; done <$place/$topic
done
rm -rf $place
exit 0
"""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a guest said: each line's first word is its topic."""

    lines: tuple[tuple[str, str], ...]

    def about(self, topic: str) -> tuple[str, ...]:
        """List the lines on a topic, without the topic."""
        return tuple(rest for name, rest in self.lines if name == topic)

    def has(self, program: str) -> bool:
        """Tell whether the guest has one of ``PROGRAMS``."""
        return program in self.about("has")

    @property
    def failed(self) -> tuple[str, ...]:
        """The units that have failed and are not well again; only where there is systemctl."""
        return tuple(sorted(line.split()[0] for line in self.about("failed") if line.split()))

    @property
    def status(self) -> tuple[str, ...]:
        """What ``ostree admin status`` printed, lines without their indentation."""
        return self.about("status")


def parse(lines: Sequence[str]) -> Survey:
    """Read what the script printed."""
    pairs = (line.partition(" ") for line in lines)
    return Survey(lines=tuple((topic, rest) for topic, _, rest in pairs))
