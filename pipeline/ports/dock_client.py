# SPDX-License-Identifier: LGPL-2.1-or-later
"""A worker's side of the dock: files of a run, and commits with all their objects."""

import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from pipeline.ports.dock import COOKIE, token
from pipeline.ports.files import write_text
from pipeline.ports.ostree import Repo
from pipeline.ports.process import CommandError
from pipeline.ports.worker_home import Identity
from pipeline.words.errors import Trouble
from pipeline.words.refs import Commit

_REMOTE = "master"
_LARGEST = 64 * 1024**2
_WAIT_S = 60.0
_AT_ONCE = 500
_FOR_EVER = 4102444800


class DockClient:
    """The dock at an address, as a worker with this identity sees it."""

    def __init__(self, url: str, identity: Identity) -> None:
        self.url = url.rstrip("/")
        self._identity = identity
        password = Path(identity.password_file).read_text().strip()
        self._token = token(identity.name, password)

    def file(self, version: str, name: str) -> bytes:
        """Fetch a file of a run; raises Trouble where it cannot be had."""
        url = f"{self.url}/runs/{version}/{urllib.parse.quote(name)}.json"
        request = urllib.request.Request(url, headers={"Cookie": f"{COOKIE}={self._token}"})
        context = (
            ssl.create_default_context(cafile=self._identity.ca) if self._identity.ca else None
        )
        try:
            with urllib.request.urlopen(request, timeout=_WAIT_S, context=context) as answer:
                data: bytes = answer.read(_LARGEST + 1)
        except urllib.error.HTTPError as error:
            raise Trouble(
                f"the master's dock says {error.code} {error.reason}", where=url
            ) from error
        except OSError as error:
            raise Trouble(f"the master's dock does not answer: {error}", where=url) from error
        if len(data) > _LARGEST:
            raise Trouble(f"it has more than {_LARGEST // 1024**2} MiB", where=url)
        return data

    def pull(self, repo: Repo, commits: Iterable[Commit]) -> None:
        """Bring commits whole into a repository; each object is verified by its checksum."""
        wanted = [one for one in dict.fromkeys(commits) if not repo.has_commit(one)]
        if not wanted:
            return
        with repo.locked("pulling from the master"):
            self._add_remote(repo)
            try:
                for start in range(0, len(wanted), _AT_ONCE):
                    some = wanted[start : start + _AT_ONCE]
                    repo.run("pull", "--network-retries=3", _REMOTE, *some, deadline_s=7200)
            except CommandError as error:
                told = error.finished.error_text.strip() or str(error)
                raise Trouble(f"cannot pull from the master: {told}", where=self.url) from error

    def _add_remote(self, repo: Repo) -> None:
        options = ["--force", "--no-gpg-verify"]
        if self._identity.ca:
            options.append(f"--set=tls-ca-path={self._identity.ca}")
        # As a cookie the token is in no command line and in no message.
        host = urllib.parse.urlsplit(self.url).hostname or ""
        secure = "TRUE" if self.url.startswith("https:") else "FALSE"
        line = "\t".join((host, "FALSE", "/", secure, str(_FOR_EVER), COOKIE, self._token))
        write_text(repo.path / f"{_REMOTE}.cookies.txt", f"{line}\n", mode=0o600)
        repo.run("remote", "add", *options, _REMOTE, f"{self.url}/repo")
