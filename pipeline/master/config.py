# SPDX-License-Identifier: LGPL-2.1-or-later
"""Put the master together from its settings."""

import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

import sqlalchemy
import sqlalchemy.pool
from buildbot.configurators import ConfiguratorBase

from pipeline.master.again import NAME as AGAIN
from pipeline.master.again import Again
from pipeline.master.auth import authorization
from pipeline.master.bell import NAME as BELL
from pipeline.master.bell import Bell
from pipeline.master.book import Book
from pipeline.master.builders import make_builders, make_schedulers, make_workers
from pipeline.master.changes import ManifestWatch
from pipeline.master.hooks import SOURCE, bound_bodies, dialect
from pipeline.master.house import house_services
from pipeline.master.reconciler import NAME, Reconciler
from pipeline.master.titled import LINKS
from pipeline.ports.master_settings import MasterSettings
from pipeline.words.errors import Ending
from pipeline.words.manifest_text import read_manifest

_LOCAL = "127.0.0.1"
_LOG_BYTES = 16 * 1024**2
_LOG_TAIL_BYTES = 1024**2


class Pipeline(ConfiguratorBase):
    """The whole pipeline of one work directory."""

    def __init__(self, settings: MasterSettings, *, latent: Collection[str] = ()) -> None:
        """Remote workers that are ``latent`` are not made here: a ``master.cfg`` has its own."""
        super().__init__()
        self.settings = settings
        self.latent = latent

    def configure(self, config_dict: dict[str, Any]) -> None:
        """Fill in the configuration."""
        super().configure(config_dict)
        settings = self.settings
        book = Book(settings)
        self.protocols["pb"] = {"port": f"tcp:{settings.worker_port}:interface={_LOCAL}"}
        self.protocols["null"] = {}
        self.workers += make_workers(book, latent=self.latent)
        self.schedulers += make_schedulers(book)
        self.builders += make_builders(book)
        config_dict["change_source"] = ManifestWatch(name=SOURCE, book=book)
        config_dict.setdefault("services", []).extend(
            [
                Reconciler(name=NAME, book=book),
                Bell(name=BELL, book=book),
                Again(name=AGAIN, book=Book(settings)),
            ]
        )
        config_dict["services"] += house_services(settings, _osname(settings.manifest))
        config_dict.update(_fixed(settings))
        bound_bodies()
        self.www.update(_page(settings))


def database(settings: MasterSettings) -> dict[str, Any]:
    """Open Buildbot's database with connections that stay open.

    Its own default for SQLite makes one for each query, and each that is closed writes the whole
    log back: 2.7 times the processor time. Two are needed at the start, more only now and then.
    """
    if settings.database:
        url = sqlalchemy.make_url(settings.database)
        if settings.database_password:
            url = url.set(password=settings.database_password)
        return {"db_url": url.render_as_string(hide_password=False)}
    return {
        "db_url": f"sqlite:///{settings.home / 'state.sqlite'}",
        "engine_kwargs": {
            "poolclass": sqlalchemy.pool.QueuePool,
            "pool_size": 2,
            "max_overflow": 4,
            "connect_args": {"check_same_thread": False, "factory": _Connection},
        },
    }


class _Connection(sqlite3.Connection):
    """A connection that waits for the disk at checkpoints alone.

    A commit is safe from a killed master all the same, and a database from a power cut whole: the
    last commits before that may be gone, and what matters of them is in the ledger. A push has
    three hundred of them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("pragma synchronous = normal")


def _fixed(settings: MasterSettings) -> dict[str, Any]:
    return {
        "db": database(settings),
        "title": f"ostci: {_osname(settings.manifest)}",
        "titleURL": settings.url,
        "buildbotURL": settings.url,
        # Requests that look alike would be made one, and pushes would be gone.
        "collapseRequests": False,
        "buildbotNetUsageData": None,
        "logCompressionMethod": "zstd",
        "logMaxSize": _LOG_BYTES,
        "logMaxTailSize": _LOG_TAIL_BYTES,
        "caches": {"Builds": 200, "chdicts": 200, "BuildRequests": 200, "SourceStamps": 200},
    }


def _osname(path: Path) -> str:
    """Tell what system this is about; while the manifest is broken, by the name of its file."""
    try:
        reading = read_manifest(path.read_text(), str(path), relative_to=str(path.parent))
    except (OSError, Ending):
        return path.stem
    return reading.manifest.osname if reading.manifest else path.stem


def _page(settings: MasterSettings) -> dict[str, Any]:
    return {
        "port": f"tcp:{settings.port}:interface={_LOCAL}",
        "plugins": {"console_view": {}, "grid_view": {}},
        "ui_default_config": dict(LINKS),
        # Pictures of people come from a server of others.
        "avatar_methods": [],
        "change_hook_dialects": {
            kind: dialect(kind, secret) for kind, secret in settings.hooks.items()
        },
        **authorization(settings),
    }
