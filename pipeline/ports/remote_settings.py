# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a master is told of workers on other machines: ``[master.remote]`` in ``ostci.toml``::

    [master.remote]
    listen = "0.0.0.0:9990"            # they connect here
    dock = "0.0.0.0:8011"              # they pull from here
    url = "https://ci.example.org:8011"  # the dock, as they reach it
    largest = 2048                     # MiB that one of them may send back at once
    sample = 0.05                      # how much of what they build is built again here
    [master.remote.workers]
    anvil = {pool = "push", slots = 2} # in secrets/worker-anvil is its password
    attic = {pool = "try", slots = 1}

Beyond 127.0.0.1 both need TLS: ``secrets/tls.crt`` and ``secrets/tls.key`` of the master's
directory, in PEM. Without workers nothing of all that listens.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.ports.dock import Certificate
from pipeline.ports.static_http import is_loopback, parse_address
from pipeline.words.errors import BadInput
from pipeline.words.fitness import Pool

AWAY = "away-"
"""How the names of slots with a home of their own begin."""
LOCAL = "local"
"""The worker of this machine that has a user of its own (``worker-user``)."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,30}")
_MIB = 1024**2
_WORDS = ("listen", "dock", "url")
_KNOWN = (*_WORDS, "largest", "sample", "workers")


@dataclass(frozen=True, kw_only=True)
class RemoteWorker:
    """A worker with a home of its own, elsewhere or as another user here.

    Each slot is a worker of Buildbot's.
    """

    name: str
    pool: Pool
    slots: int = 1
    password: str = field(default="", repr=False)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return tuple(slot_name(self.name, number) for number in range(1, self.slots + 1))

    @property
    def is_local(self) -> bool:
        return self.name == LOCAL


@dataclass(frozen=True, kw_only=True)
class RemoteSettings:
    """All of it; sizes are in bytes."""

    listen: str = "127.0.0.1:9990"
    dock: str = "127.0.0.1:8011"
    url: str = ""
    largest: int = 2048 * _MIB
    sample: float = 0.05
    workers: tuple[RemoteWorker, ...] = ()
    certificate: Certificate | None = None
    local_dock: str = ""
    """Where the local worker pulls from; nobody else reaches it."""

    @property
    def others(self) -> tuple[RemoteWorker, ...]:
        """The workers on other machines."""
        return tuple(one for one in self.workers if not one.is_local)

    @property
    def local(self) -> RemoteWorker | None:
        """The worker of this machine that has a user of its own."""
        return next((one for one in self.workers if one.is_local), None)

    def dock_of(self, worker: RemoteWorker) -> str:
        """Tell where a worker pulls from."""
        return f"http://{self.local_dock}" if worker.is_local else self.dock_url

    @property
    def dock_url(self) -> str:
        """The dock as workers on other machines reach it."""
        scheme = "http" if self.certificate is None else "https"
        return (self.url or f"{scheme}://{self.dock}").rstrip("/")

    @property
    def endpoint(self) -> str:
        """Where workers connect, in Twisted's words."""
        host, port = parse_address(self.listen)
        if self.certificate is None:
            return f"tcp:{port}:interface={host}"
        key, chain = _quoted(self.certificate.key), _quoted(self.certificate.chain)
        return f"ssl:{port}:interface={host}:privateKey={key}:certKey={chain}"

    def worker_of(self, slot: str) -> RemoteWorker | None:
        """Find the worker that a slot is of; None for those of the master's user."""
        return next((one for one in self.workers if slot in one.slot_names), None)


def slot_name(worker: str, number: int) -> str:
    """Name a slot of a worker."""
    return f"{AWAY}{worker}-{number}"


def read_remote_settings(
    table: Any, home: Path, *, where: str, secret: Callable[[str], str]
) -> RemoteSettings:
    """Read the table; ``secret`` reads one by its name. Raises BadInput."""
    if not isinstance(table, dict):
        raise BadInput("master.remote is a table: [master.remote]", where=where)
    for key, value in table.items():
        _check(key, value, where)
    said = table.get("workers", {})
    if not isinstance(said, dict):
        raise BadInput("master.remote.workers is a table of names", where=where)
    workers = tuple(_worker(name, one, where, secret) for name, one in said.items())
    given: dict[str, Any] = {key: table[key] for key in _WORDS if key in table}
    if "sample" in table:
        given["sample"] = float(table["sample"])
    if "largest" in table:
        given["largest"] = table["largest"] * _MIB
    found = RemoteSettings(workers=workers, certificate=_certificate(home), **given)
    for address in (found.listen, found.dock):
        if workers and not is_loopback(parse_address(address)[0]) and found.certificate is None:
            raise BadInput(
                f"others could reach {address}, and there is no certificate",
                where=where,
                hint=f"put tls.crt and tls.key into {home / 'secrets'}",
            )
    return found


def _check(key: str, value: Any, where: str) -> None:
    if key not in _KNOWN:
        raise BadInput(f"master.remote.{key} is none of {', '.join(_KNOWN)}", where=where)
    if key in _WORDS and not isinstance(value, str):
        raise BadInput(f"master.remote.{key} wants a text, not {value!r}", where=where)
    if key in ("listen", "dock"):
        parse_address(value)
    if key == "sample" and not (type(value) in (int, float) and 0 <= value <= 1):
        raise BadInput(f"master.remote.sample wants 0 to 1, not {value!r}", where=where)
    if key == "largest" and (type(value) is not int or value < 1):
        raise BadInput(f"master.remote.largest wants a number of MiB, not {value!r}", where=where)


def _worker(name: str, said: Any, where: str, secret: Callable[[str], str]) -> RemoteWorker:
    place = f"master.remote.workers.{name}"
    if not _NAME.fullmatch(name):
        raise BadInput(f"{place}: a name is of letters, digits and dashes", where=where)
    if name == LOCAL:
        raise BadInput(f"{place}: that one is of this machine: master.worker-user", where=where)
    if not isinstance(said, Mapping) or said.keys() - {"pool", "slots"}:
        raise BadInput(f'{place} wants {{pool = "push", slots = 1}}', where=where)
    pool, slots = said.get("pool", Pool.PUSH), said.get("slots", 1)
    if pool not in tuple(Pool):
        raise BadInput(f"{place}.pool wants {' or '.join(Pool)}, not {pool!r}", where=where)
    if type(slots) is not int or not 0 < slots < 1000:
        raise BadInput(f"{place}.slots wants a number from 1, not {slots!r}", where=where)
    password = secret(f"worker-{name}")
    return RemoteWorker(name=name, pool=Pool(pool), slots=slots, password=password)


def _certificate(home: Path) -> Certificate | None:
    chain, key = home / "secrets" / "tls.crt", home / "secrets" / "tls.key"
    if not chain.is_file() or not key.is_file():
        return None
    if key.stat().st_mode & 0o077:
        raise BadInput("others may read this secret", where=str(key), hint=f"chmod 600 {key}")
    return Certificate(chain=chain, key=key)


def _quoted(path: Path) -> str:
    """Write a path in an endpoint's description."""
    return str(path).replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")
