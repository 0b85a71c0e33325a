# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a server of ``ostci serve``, or any that serves those files, has: read, and not believed.

Texts have to be signed by a key that is trusted here; objects are verified by the checksums that
such a text names. What a server can still do is to hold back, to lie low, or to send more than it
should; the last is bounded where it is read into memory.
"""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable

from pipeline.ports.gpg_verify import NotSigned, verified_text
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.ports.process import CommandError
from pipeline.words.errors import BadInput, Trouble
from pipeline.words.refs import Commit

_WAIT_S = 30.0
_LARGEST = 64 * 1024**2
_AT_ONCE = 500
_PULL_S = 7200.0
_REMOTE = "ostci-served"
_GONE = (404, 410)


class NotThere(Trouble):
    """The server answers, and has no such file."""


class Served:
    """What is served at an address; raises BadInput for what is none."""

    def __init__(self, url: str, *, log: Log) -> None:
        place = urllib.parse.urlsplit(url)
        if place.scheme not in ("http", "https") or not place.hostname or place.username:
            hint = "such as https://ci.example.org, what ostci serve prints"
            raise BadInput(f"not the address of a server: {url!r}", hint=hint)
        self.url = url.rstrip("/")
        self._log = log

    def file(self, name: str) -> bytes:
        """Fetch a file; raises NotThere, and Trouble where it cannot be had."""
        url = f"{self.url}/{name}"
        self._log.detail(f"GET {url}")
        try:
            with urllib.request.urlopen(url, timeout=_WAIT_S) as answer:
                data: bytes = answer.read(_LARGEST + 1)
        except urllib.error.HTTPError as error:
            if error.code in _GONE:
                raise NotThere("the server has no such file", where=url) from error
            raise Trouble(f"the server says {error.code} {error.reason}", where=url) from error
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise Trouble(f"the server does not answer: {why}", where=url) from error
        if len(data) > _LARGEST:
            raise Trouble(f"it has more than {_LARGEST // 1024**2} MiB", where=url)
        return data

    def signed(self, name: str, keys: bytes) -> str:
        """Fetch a text that one of the keys has signed; raises Trouble where none has."""
        url = f"{self.url}/{name}.asc"
        try:
            return verified_text(self.file(f"{name}.asc"), keys, log=self._log)
        except NotSigned as error:
            raise Trouble(
                f"none of the keys that are trusted here has signed it: {error}",
                where=url,
                hint="ask who runs the server for its key, and give that: --key FILE",
            ) from error

    def pull(self, repo: Repo, commits: Iterable[Commit]) -> int:
        """Bring commits whole into a repository; tells how many were not there.

        Each object is verified by its checksum, whatever is served under its name.
        """
        wanted = [one for one in dict.fromkeys(commits) if not repo.has_commit(one)]
        if not wanted:
            return 0
        # The checksums are those of a signed text; the server's own word is not asked for.
        settings = ["--force", "--no-gpg-verify", "--set=gpg-verify-summary=false"]
        with repo.locked("pulling from a server"):
            repo.run("remote", "add", *settings, _REMOTE, f"{self.url}/repo")
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                options = ["--network-retries=3", "--disable-static-deltas"]
                try:
                    repo.run("pull", *options, _REMOTE, *some, deadline_s=_PULL_S)
                except CommandError as error:
                    told = error.finished.error_text.strip().splitlines() or [str(error)]
                    raise Trouble(
                        f"cannot pull: {told[-1]}",
                        where=self.url,
                        hint="it may have thrown old artifacts away meanwhile: try again",
                    ) from error
        return len(wanted)
