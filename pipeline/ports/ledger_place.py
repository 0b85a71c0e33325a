# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where a work directory has its ledger: SQLite beside the rest, or the PostgreSQL of its settings.

``ostci.toml`` says so for all who work there, the master and its workers, too::

    ledger = "postgresql:///ostci"

It holds no password: libpq finds one in ``~/.pgpass``, and needs none on a socket of this host.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.ports.workdir import Workdir
from pipeline.words.errors import BadInput

SETTINGS = "ostci.toml"
KEY = "ledger"
SQLITE = "sqlite"


def ledger_url(workdir: Workdir, said: object, *, where: str) -> str:
    """Tell the URL of the ledger by what the settings say; raises BadInput for what is none."""
    if said is None or said == "":
        return sqlite_url(workdir.ledger)
    if not isinstance(said, str) or not said.startswith("postgresql"):
        raise BadInput(f"{KEY} wants postgresql://…, not {said!r}; without it, SQLite", where=where)
    place = urlsplit(said)
    if not place.path.strip("/"):
        raise BadInput(f"{KEY} names no database: {said!r}", where=where)
    if place.password:
        hint = "write it into ~/.pgpass: HOST:PORT:DATABASE:USER:PASSWORD, mode 600"
        raise BadInput(f"a password does not belong into {KEY}", where=where, hint=hint)
    return said


def is_same_database(one: str, other: str) -> bool:
    """Tell whether two URLs are of the same database, as far as they say."""
    first, second = urlsplit(one), urlsplit(other)
    same = ("hostname", "port", "path", "query")
    return all(getattr(first, name) == getattr(second, name) for name in same)


def sqlite_url(path: Path) -> str:
    """Write the URL of a ledger in a file."""
    return f"sqlite:///{path}"


def read_ledger_url(workdir: Workdir) -> str:
    """Tell the URL of the ledger of a work directory."""
    path = workdir.root / SETTINGS
    said: dict[str, Any] = tomllib.loads(path.read_text()) if path.is_file() else {}
    return ledger_url(workdir, said.get(KEY), where=str(path))


def with_ledger(settings: str, url: str) -> str:
    """Write settings that name another ledger; ``sqlite`` is the file of the work directory."""
    lines = settings.splitlines(keepends=True)
    tables = (at for at, line in enumerate(lines) if line.lstrip().startswith("["))
    first = next(tables, len(lines))
    top = [line for line in lines[:first] if not re.match(rf"\s*{KEY}\s*=", line)]
    new = [] if url == SQLITE else [f"{KEY} = {json.dumps(url)}\n"]
    return "".join((*new, *top, *lines[first:]))


def may_be_there(workdir: Workdir, url: str) -> bool:
    """Tell whether opening a ledger would not make one: a file that is not there is none."""
    return url != sqlite_url(workdir.ledger) or workdir.ledger.is_file()
