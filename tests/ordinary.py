# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ordinary user for tests that root runs: an account with subordinate ids, and a home.

Nothing is written to this machine's ``/etc``: the account is in a copy of it, which only a mount
namespace of the user's programs sees. Its numbers are beyond all that useradd gives away.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
USER = 54322
FIRST_ID = 700_000_000
NAME = "ostci-ordinary"
_LINES = {
    "passwd": f"{NAME}:x:{USER}:{USER}::{{home}}:/bin/sh",
    "group": f"{NAME}:x:{USER}:",
    "subuid": f"{NAME}:{FIRST_ID}:65536",
    "subgid": f"{NAME}:{FIRST_ID}:65536",
}
_KNOWN = 'mount --bind "$1" /etc; shift; exec "$@"'
_ENTER = 'mount --bind "$1" /etc; shift; exec setpriv "$@"'


@dataclass(frozen=True, kw_only=True)
class Ordinary:
    """``home`` is the user's, nobody else's; ``etc`` is what stands in for ``/etc``."""

    home: Path
    etc: Path

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout_s: float = 600.0,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program as this user, with what Debian gives one for a PATH."""
        words = ["unshare", "--mount", "--propagation=private", "sh", "-ec", _ENTER, "sh"]
        words += [str(self.etc), f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"]
        return subprocess.run(
            [*words, *map(str, argv)],
            cwd=TOP,
            env={
                "HOME": str(self.home),
                "USER": NAME,
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def known_to(self, argv: Sequence[str | Path]) -> list[str]:
        """Write a command of root's to whom the account is one of this machine."""
        words = ["unshare", "--mount", "--propagation=private", "sh", "-ec", _KNOWN, "sh"]
        return [*words, str(self.etc), *map(str, argv)]

    def own(self, path: Path) -> None:
        """Give a directory and all below it to this user."""
        owner = f"--no-dereference {USER}:{USER}".split()
        subprocess.run(["chown", "--recursive", *owner, path], check=True)


@contextmanager
def ordinary_user() -> Iterator[Ordinary]:
    """Make the user for the length of the ``with``; skips the test where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory(prefix="ostci-etc-") as etc:
        home = Path(tempfile.mkdtemp(prefix="ostci-home-", dir="/tmp"))
        user = Ordinary(home=home, etc=Path(etc))
        try:
            _prepare(user)
            yield user
        finally:
            subprocess.run(["rm", "-rf", "--", home], check=True)


def _prepare(user: Ordinary) -> None:
    subprocess.run(["cp", "--archive", "/etc/.", user.etc], check=True)
    user.etc.chmod(0o755)
    for name, line in _LINES.items():
        path = user.etc / name
        before = path.read_text() if path.is_file() else ""
        path.write_text(f"{before.rstrip()}\n{line.format(home=user.home)}\n".lstrip())
    os.chown(user.home, USER, USER)
    for argv, why in (
        (["true"], "no account in a mount namespace of its own"),
        (["test", "-x", sys.executable], f"an ordinary user cannot run {sys.executable}"),
        (["test", "-r", str(TOP / "pipeline/__init__.py")], f"an ordinary user cannot read {TOP}"),
        (["unshare", "--user", "--map-auto", "--map-root-user", "true"], "no subordinate ids"),
    ):
        done = user.run(argv)
        if done.returncode != 0:
            pytest.skip(f"{why}: {done.stderr.strip()}")
    done = user.run([sys.executable, "-c", "import pipeline"])
    assert done.returncode == 0, done.stderr


def copy_for(user: Ordinary, source: Path, target: Path) -> None:
    """Copy a directory, with its extended attributes, to one of the user's own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", source, target], check=True)
    user.own(target)
