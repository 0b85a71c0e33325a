# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which keys are trusted for a server, and how far it had come when it was last seen.

Nothing is trusted because a server says so: a key is given, or a person asked for the server's own
to be trusted from now on and has seen its fingerprint. It is kept in ``servers/`` of the work
directory. So is the newest run that a server has shown: one that shows less than before serves old
things, be it a copy that is not kept up or somebody in between.
"""

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.ports.files import write_text
from pipeline.ports.gpg_verify import fingerprints, read_keys
from pipeline.ports.log import Log
from pipeline.ports.served import Served
from pipeline.ports.workdir import Workdir
from pipeline.words.errors import BadInput, Trouble
from pipeline.words.published import LIST, PublishedList, check_list
from pipeline.words.records import from_json, to_json
from pipeline.words.refs import is_name
from pipeline.words.run import place_of


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """What is kept of a server; the keys in base64, as ``gpg --export`` writes them."""

    url: str
    keys: str
    fingerprints: tuple[str, ...]
    newest: str = ""

    @property
    def ring(self) -> bytes:
        """The keys themselves."""
        return base64.b64decode(self.keys)


def trusted_list(
    served: Served, workdir: Workdir, *, key: Path | None, trust: bool, log: Log
) -> tuple[PublishedList, Trusted]:
    """Fetch the list of a server, signed by a key that is trusted; which is remembered then.

    Raises BadInput where no key is trusted for it yet, with that of the server for a person to
    compare; Trouble where the signature is not good, or the server cannot be asked.
    """
    known = _read(workdir, served)
    wanted = known
    if key is not None:
        wanted = _given(served, key, log)
    elif trust or known is None:
        shown = _shown(served, log)
        told = " ".join(shown.fingerprints)
        if not trust:
            raise BadInput(
                f"no key is trusted for it yet; it shows {told}",
                where=served.url,
                hint="compare that with what its people say, then --trust; or --key FILE",
            )
        if known is not None and set(shown.fingerprints) - set(known.fingerprints):
            raise BadInput(
                f"another key was trusted for it before, now it shows {told}",
                where=served.url,
                hint="ask its people; a key that is right is taken by --key FILE",
            )
        wanted = known or shown
        log.fact(f"trusted from now on: {told}", about=served.url)
    assert wanted is not None
    where = f"{served.url}/{LIST}"
    found = from_json(PublishedList, served.signed(LIST, wanted.ring), where=where)
    check_list(found, where=where)
    if known is not None:
        wanted = replace(wanted, newest=known.newest)
    _write(workdir, served, wanted)
    return found, wanted


def raise_stale(found: PublishedList, trusted: Trusted, served: Served, workdir: Workdir) -> None:
    """Raise Trouble where a server shows less than it did before."""
    if not trusted.newest or not found.runs:
        return
    newest, path = found.runs[0].run, _path(workdir, served)
    if place_of(newest) < place_of(trusted.newest):
        raise Trouble(
            f"its newest run is {newest}, and it was {trusted.newest} before: it serves old things",
            where=trusted.url,
            hint=f"to take it all the same: --tree {newest}; to forget what was: rm {path}",
        )


def note_newest(workdir: Workdir, served: Served, trusted: Trusted, newest: str) -> None:
    """Remember how far a server has come; what is taken of an older list is no way back."""
    if not trusted.newest or place_of(newest) > place_of(trusted.newest):
        _write(workdir, served, replace(trusted, newest=newest))


def _given(served: Served, path: Path, log: Log) -> Trusted:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path)) from error
    return _trusted(served, read_keys(data, log=log, where=str(path)), log)


def _shown(served: Served, log: Log) -> Trusted:
    """Fetch the key that a server says is its own; nothing is believed yet."""
    try:
        osname = json.loads(served.file(LIST))["osname"]
    except (ValueError, KeyError, TypeError) as error:
        raise Trouble("it is no list of artifacts", where=f"{served.url}/{LIST}") from error
    if not isinstance(osname, str) or not is_name(osname):
        raise Trouble(f"no name of an operating system: {osname!r}", where=served.url)
    name = f"{osname}.gpg"
    data = served.file(name)
    try:
        keys = read_keys(data, log=log, where=f"{served.url}/{name}")
    except BadInput as error:
        raise Trouble(error.what, where=error.where) from error
    return _trusted(served, keys, log)


def _trusted(served: Served, keys: bytes, log: Log) -> Trusted:
    return Trusted(
        url=served.url,
        keys=base64.b64encode(keys).decode(),
        fingerprints=fingerprints(keys, log=log),
    )


def _path(workdir: Workdir, served: Served) -> Path:
    digest = hashlib.sha256(served.url.encode()).hexdigest()
    return workdir.servers / f"{digest[:16]}.json"


def _read(workdir: Workdir, served: Served) -> Trusted | None:
    path = _path(workdir, served)
    return from_json(Trusted, path.read_bytes(), where=str(path)) if path.is_file() else None


def _write(workdir: Workdir, served: Served, trusted: Trusted) -> None:
    write_text(_path(workdir, served), to_json(trusted))
