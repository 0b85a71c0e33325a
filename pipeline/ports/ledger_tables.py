# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables of the ledger, in SQL that SQLite and PostgreSQL both take.

How an older database becomes this one is in ``ledger_migrations``; a test compares the two. Times
are seconds since 1970 (UTC); ``place`` is a run's place in the order of pushes.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

HEAD = "0006"
"""The newest migration; a database that says so is not looked at any further."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _run_column(*, primary_key: bool = False, nullable: bool = False) -> "Column[str]":
    target = ForeignKey("run.version")
    return Column("run", String(32), target, primary_key=primary_key, nullable=nullable)


run = Table(
    "run",
    metadata,
    Column("version", String(32), primary_key=True),
    Column("place", BigInteger, nullable=False),
    Column("osname", Text, nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    Column("ending", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("snapshot", String(64)),
    Column("kind", String(16), nullable=False),
    Index(None, "place"),
    Index(None, "ending"),
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("digest", String(64), primary_key=True),
    _run_column(),
    Column("recorded", Double, nullable=False),
)

tree = Table(
    "tree",
    metadata,
    _run_column(primary_key=True),
    Column("tree", Text, primary_key=True),
    Column("arch", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("commit", String(64), nullable=False),
    Column("content", Text, nullable=False),
    Column("snapshot", String(64), nullable=False),
    Column("unchanged", Boolean, nullable=False),
    Column("recorded", Double, nullable=False),
    Index(None, "commit"),
)

tree_component = Table(
    "tree_component",
    metadata,
    Column("commit", String(64), primary_key=True),
    Column("component", Text, primary_key=True),
    Column("revision", Text, nullable=False),
    Index(None, "component", "revision"),
)

verdict = Table(
    "verdict",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("commit", String(64), nullable=False),
    Column("suite", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    _run_column(),
    Column("tree", Text, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("cause", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("recorded", Double, nullable=False),
    Column("flaky", Integer, nullable=False, server_default="0"),
    UniqueConstraint("commit", "suite", "attempt"),
)

test = Table(
    "test",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("commit", String(64), nullable=False),
    Column("suite", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    _run_column(),
    Column("tree", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("cause", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("is_new", Boolean, nullable=False),
    Column("known", Text, nullable=False),
    Column("recorded", Double, nullable=False),
    Index(None, "tree", "suite", "name"),
    Index(None, "commit", "suite"),
)

promotion = Table(
    "promotion",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("batch", Integer, nullable=False),
    _run_column(),
    Column("place", BigInteger, nullable=False),
    Column("osname", Text, nullable=False),
    Column("tree", Text, nullable=False),
    Column("commit", String(64), nullable=False),
    Column("previous", String(64)),
    Column("state", String(16), nullable=False),
    Column("gate", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("began", Double, nullable=False),
    Column("ended", Double),
    Index(None, "osname", "tree"),
    Index(None, "state"),
    Index(None, "commit"),
)

ticket = Table(
    "ticket",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line", Text, nullable=False),
    _run_column(),
    Column("state", String(16), nullable=False),
    Column("taken", Double, nullable=False),
    Column("ended", Double),
    UniqueConstraint("line", "run"),
    Index(None, "line", "state"),
)

push = Table(
    "push",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("component", Text, nullable=False),
    Column("branch", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("note", Text, nullable=False),
    _run_column(nullable=True),
    Column("received", Double, nullable=False),
    Column("url", Text, nullable=False),
    Column("commits", Text, nullable=False),
    Column("rewritten", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("superseded_by", Integer),
    Column("message", Text, nullable=False),
    Column("attempted", Double),
    Column("ended", Double),
    Column("wish", Text, nullable=False),
    Index(None, "run"),
    Index(None, "component", "after"),
    Index(None, "state"),
)

head = Table(
    "head",
    metadata,
    Column("url", Text, primary_key=True),
    Column("branch", Text, primary_key=True),
    Column("revision", Text, nullable=False),
    Column("seen", Double, nullable=False),
)

request = Table(
    "request",
    metadata,
    Column("url", Text, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("head", Text, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("is_member", Boolean, nullable=False),
    Column("author", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("page", Text, nullable=False),
    Column("told", Double, nullable=False),
    Column("seen", Double, nullable=False),
)
