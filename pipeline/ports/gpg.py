# SPDX-License-Identifier: LGPL-2.1-or-later
"""A signing key that works unattended, in a GnuPG home of its own.

GnuPG keeps secret keys behind an agent, a daemon that would outlive us. Here the agent is a child
like any other, for as long as something is signed, and dies with this process however that ends.
"""

import os
import socket
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import lock, no_space, write_text
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble

_DEADLINE_S = 120.0
# sockaddr_un has 108 bytes with the zero; the agent's longest name is S.gpg-agent.browser.
_LONGEST_HOME = 107 - len("/S.gpg-agent.browser")
_CHOSEN = "signing-keys"
"""Names the keys that sign, oldest first; written when there is more than one to choose from."""
_SETTINGS = """\
# Written by ostci. A gpg that outlives its master (ostree starts some) must not start a daemon that
# would take the place of the agent that comes next. By hand: gpg-agent --homedir HERE --daemon.
no-autostart
"""


class Keyring:
    """The keys in one home, which only its owner may read."""

    def __init__(self, home: Path, *, log: Log) -> None:
        self.home = home
        self.log = log
        self._mine = threading.RLock()
        self._open: Path | None = None

    def ensure(self, name: str) -> str:
        """Make a key for a name where there is no key yet; tells the fingerprint of the one here.

        Two that call at once get the same key.
        """
        with no_space(self.home):
            self.home.mkdir(parents=True, exist_ok=True)
            self.home.chmod(0o700)
        with lock(self.home / ".ostci.lock", what="making a signing key", wait_s=_DEADLINE_S):
            if not (self.home / "gpg.conf").is_file():
                write_text(self.home / "gpg.conf", _SETTINGS)
            if self._find() is None:
                self._make(name)
        return self.fingerprint

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the key that the field knows; raises Trouble where there is none."""
        return self.fingerprints[0]

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """The keys that sign, oldest first: two while one takes the place of the other."""
        chosen = self.home / _CHOSEN
        if chosen.is_file():
            return tuple(chosen.read_text().split())
        found = self._find()
        if found is None:
            raise Trouble(f"no signing key in {self.home}", hint="ostci run makes one")
        return (found,)

    def add(self, name: str) -> str:
        """Make one more key, which signs beside the others from now on; tells its fingerprint."""
        before = self.fingerprints
        with lock(self.home / ".ostci.lock", what="making a signing key", wait_s=_DEADLINE_S):
            known = set(self._list())
            self._make(name)
            (new,) = set(self._list()) - known
            self._choose((*before, new))
        return new

    def retire(self) -> tuple[str, ...]:
        """Let the newest key alone sign; tells those that no longer do."""
        *old, newest = self.fingerprints
        self._choose((newest,))
        return tuple(old)

    def _choose(self, fingerprints: tuple[str, ...]) -> None:
        write_text(self.home / _CHOSEN, "".join(f"{one}\n" for one in fingerprints))
        self.__dict__.pop("fingerprints", None)

    def export(self) -> bytes:
        """Write out the public keys that sign, in the binary form that clients import."""
        with self._short_home() as home:
            argv = self._gpg(home, "--export", *self.fingerprints)
            return process.run(argv, log=self.log, deadline_s=_DEADLINE_S).stdout

    def sign_text(self, text: str) -> str:
        """Sign a text so that text and signature are one (RFC 9580, cleartext framework)."""
        return self._sign("--clearsign", text.encode()).decode()

    def sign_detached(self, data: bytes) -> bytes:
        """Sign bytes; tells the signature alone, in binary."""
        return self._sign("--detach-sign", data)

    @contextmanager
    def unlocked(self) -> Iterator[Path]:
        """Tell a home with which others may sign for the length of the ``with``.

        Its agent runs until then, and not a moment longer. May be nested.
        """
        with self._mine:
            if self._open is not None:
                yield self._open
                return
            with self._short_home() as home, self._agent(home):
                self._open = home
                try:
                    yield home
                finally:
                    self._open = None

    # Helpers

    def _sign(self, how: str, data: bytes) -> bytes:
        with self.unlocked() as home:
            argv = self._gpg(home, "--local-user", self.fingerprint, "--output", "-", how)
            return process.run(argv, log=self.log, input=data, deadline_s=_DEADLINE_S).stdout

    def _find(self) -> str | None:
        """Tell the fingerprint of the first key whose secret half is in the home."""
        if not (self.home / "private-keys-v1.d").is_dir():
            return None
        found = self._list()
        return found[0] if found else None

    def _list(self) -> list[str]:
        """List the fingerprints of all keys; ours are made by us, so each has its secret half."""
        # Listing public keys needs no agent.
        with self._short_home() as home:
            argv = self._gpg(home, "--with-colons", "--list-keys")
            listed = process.run(argv, log=self.log, ok=(0, 2), deadline_s=_DEADLINE_S).text
        rows = [line.split(":") for line in listed.splitlines()]
        return [fields[9] for fields in rows if fields[0] == "fpr"]

    def _make(self, name: str) -> None:
        self.log.detail(f"a signing key for {name} is made in {self.home}")
        with self.unlocked() as home:
            options = ["--passphrase", "", "--yes", "--quick-generate-key"]
            argv = self._gpg(home, *options, "--", name, "ed25519", "sign", "never")
            process.run(argv, log=self.log, deadline_s=_DEADLINE_S)

    def _gpg(self, home: Path, *argv: str) -> list[str]:
        fixed = ["gpg", f"--homedir={home}", "--batch", "--no-tty", "--quiet", "--no-autostart"]
        return [*fixed, "--pinentry-mode=loopback", "--trust-model=always", *argv]

    @contextmanager
    def _short_home(self) -> Iterator[Path]:
        """Tell a path of the home that is short enough for the socket in it."""
        if len(bytes(self.home)) <= _LONGEST_HOME:
            yield self.home
            return
        with tempfile.TemporaryDirectory(prefix="ostci-gpg-", dir="/tmp") as short:
            # The directory above: ostree opens the home itself without following a link.
            link = Path(short) / "above"
            link.symlink_to(self.home.absolute().parent)
            yield link / self.home.name

    @contextmanager
    def _agent(self, home: Path) -> Iterator[None]:
        """Have an agent of ours for the home, and nobody else one at the same time.

        It is given its socket as systemd would give it one: so it stays in the foreground, our
        child, and answers from the first moment.
        """
        with (
            lock(self.home / ".agent.lock", what="signing", wait_s=_DEADLINE_S),
            socket.socket(socket.AF_UNIX) as listening,
            Path(os.devnull).open("wb") as nowhere,
        ):
            place = self._socket_path(home)
            place.unlink(missing_ok=True)
            listening.bind(bytes(place))
            listening.listen(64)
            # The protocol of sd_listen_fds(3): the first socket is descriptor 3.
            script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec gpg-agent "$@" 3<&0 </dev/null'
            argv = ["sh", "-c", script, "sh", f"--homedir={home}", "--supervised", "--quiet"]
            # It talks of every request; a pipe that nobody reads would stop it one day.
            given = listening.fileno()
            with process.start(argv, log=self.log, stdin=given, stderr=nowhere):
                listening.close()
                yield
            place.unlink(missing_ok=True)

    def _socket_path(self, home: Path) -> Path:
        """Ask where GnuPG looks for the agent of a home: in it, or below ``/run/user``."""
        argv = ["gpgconf", f"--homedir={home}", "--list-dirs", "agent-socket"]
        listed = process.run(argv, log=self.log, deadline_s=_DEADLINE_S).text
        place = Path(urllib.parse.unquote(listed))
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place
