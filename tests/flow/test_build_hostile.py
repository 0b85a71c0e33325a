# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds that mean ill: stopped at their limits, named, and nothing outside is changed."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.stages.build import Outcome
from pipeline.words.manifest import BuildSystem, Limits
from tests.yard import Yard, one

LIMITS = Limits(time_s=200, memory=512 * 1024**2, processes=80, output=64 * 1024**2)
SOON_S = 150.0
"""Far from what a build may take, whatever else this machine has to do."""

HOSTILE = {
    "forks without end": ("f() { f | f & }; f; sleep 60", "used more than 80 processes"),
    "fills the disk": ("dd if=/dev/zero of=big bs=1M count=9000", "wrote more than 64 MiB"),
    "fills the disk where it installs": (
        "dd if=/dev/zero of=$DESTDIR/big bs=1M count=9000",
        "wrote more than 64 MiB",
    ),
    "waits for ever": ("sleep 3600", "did not end within 2 s"),
    "waits with everything closed": (
        "exec >&- 2>&- </dev/null; sleep 60",
        "did not end within 2 s",
    ),
}


def processes_with(word: str) -> list[str]:
    """List the command lines of all processes on this machine that contain a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word in line:
            found.append(line)
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_a_build_is_stopped_at_its_limit_and_named(yard: Yard, name: str) -> None:
    script, reason = HOSTILE[name]
    limits = replace(LIMITS, time_s=2) if "waits" in name else LIMITS
    marker = f"ostci-evil-{os.getpid()}-"
    yard.source("evil", {"x": ""})
    yard.source("good", {"x": ""})
    evil = yard.component(
        "evil",
        system=BuildSystem.CUSTOM,
        commands=(f": {marker}", script),
        limits=limits,
        depends=(),
    )
    good = yard.component(
        "good",
        system=BuildSystem.CUSTOM,
        commands=("mkdir -p $DESTDIR/usr; echo x > $DESTDIR/usr/good",),
        depends=(),
    )
    started = time.monotonic()
    result = yard.build([evil, good])
    took = time.monotonic() - started
    assert one(result, "evil").outcome is Outcome.FAILED
    assert one(result, "evil").message.startswith(f"the build of evil {reason}")
    assert one(result, "good").outcome is Outcome.BUILT
    assert took < SOON_S
    assert processes_with(marker) == []
    assert not list(yard.workdir.tmp.iterdir())
    yard.repo.fsck()


def test_nothing_outside_can_be_written(yard: Yard, tmp_path: Path) -> None:
    yard.source("evil", {"x": ""})
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    attempts = [
        f"echo evil > {outside}",
        "echo evil >> /usr/bin/make",
        "rm -f /usr/bin/make",
        "echo evil > /etc/passwd",
        "echo evil > /usr/evil",
        "chmod 777 /usr",
        "echo evil > /ostci/run.sh",
    ]
    lines = [
        f"({attempt}) 2>/dev/null && echo DONE: {number} || true"
        for number, attempt in enumerate(attempts)
    ]
    evil = yard.component("evil", system=BuildSystem.CUSTOM, commands=tuple(lines))
    result = yard.build([evil])
    assert one(result, "evil").outcome is Outcome.BUILT, yard.text_of("evil")
    done = [line for line in yard.text_of("evil").splitlines() if line.startswith("DONE:")]
    # Removing a file that is not removed is no success of --force either.
    assert done == []
    assert outside.read_text() == "as it was"
    yard.repo.fsck()


def test_there_is_nobody_to_talk_to(yard: Yard) -> None:
    yard.source(
        "evil",
        {
            "x.c": (
                "#include <sys/socket.h>\n#include <netinet/in.h>\n#include <arpa/inet.h>\n"
                "#include <stdio.h>\nint main(void) {\n"
                "  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};\n"
                '  inet_aton("192.0.2.1", &to.sin_addr);\n'
                "  int s = socket(AF_INET, SOCK_STREAM, 0);\n"
                '  if (connect(s, (void *)&to, sizeof to)) { perror("connect"); return 1; }\n'
                "  return 0;\n}\n"
            )
        },
    )
    evil = yard.component("evil", system=BuildSystem.CUSTOM, commands=("cc -o ../x x.c", "../x"))
    result = yard.build([evil])
    assert one(result, "evil").outcome is Outcome.FAILED
    assert "connect: Network is unreachable" in one(result, "evil").message


def test_a_daemon_that_holds_a_file_open_is_dead_before_results_are_read(yard: Yard) -> None:
    marker = f"ostci-daemon-{os.getpid()}-"
    yard.source("evil", {"x": ""})
    loop = f"exec 3>>$DESTDIR/usr/file; while :; do echo more >&3; sleep 0.01; done; : {marker}"
    daemon = f"setsid sh -c '{loop}' >/dev/null 2>&1 &"
    evil = yard.component(
        "evil",
        system=BuildSystem.CUSTOM,
        commands=("mkdir -p $DESTDIR/usr", "echo one > $DESTDIR/usr/file", daemon, "sleep 0.2"),
    )
    started = time.monotonic()
    result = yard.build([evil])
    assert one(result, "evil").outcome is Outcome.BUILT, yard.text_of("evil")
    assert time.monotonic() - started < SOON_S
    assert processes_with(marker) == []
    yard.repo.fsck()


def test_links_that_lead_out_are_kept_as_links_and_not_followed(yard: Yard, tmp_path: Path) -> None:
    yard.source("evil", {"x": ""})
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("of the host")
    evil = yard.component(
        "evil",
        system=BuildSystem.CUSTOM,
        commands=(
            "mkdir -p $DESTDIR/usr/share",
            f"ln -s {secret} $DESTDIR/usr/share/dir",
            f"ln -s {secret}/file $DESTDIR/usr/share/file",
            f"ln -s {secret} $DESTDIR/etc",
        ),
        setuid=("/usr/share/file", "/usr/share/dir/file"),
    )
    result = yard.build([evil])
    found = one(result, "evil")
    assert found.outcome is Outcome.BUILT, found.message
    assert yard.files(found)["runtime"] == ["/usr/etc", "/usr/share/dir", "/usr/share/file"]
    assert (secret / "file").read_text() == "of the host"
    assert (secret / "file").stat().st_mode & 0o7777 == 0o644
