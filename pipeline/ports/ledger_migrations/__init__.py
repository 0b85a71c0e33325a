# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the database of an older version becomes the one of this.

A migration is never changed once it was released; the next one is a new file in ``versions``, and
``ledger_tables.HEAD`` names it. There is no ``env.py``: ``upgrade`` is all that runs them.
"""

from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def scripts() -> ScriptDirectory:
    """Find the migrations."""
    return ScriptDirectory(str(Path(__file__).parent))


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the database of a connection to a migration, within its transaction."""
    found = scripts()

    def steps(revision: object, _context: MigrationContext) -> list[RevisionStep]:
        # What alembic calls StampStep and RevisionStep alike; it names no common class.
        return list(found._upgrade_revs(to, revision))  # type: ignore[arg-type]

    with EnvironmentContext(Config(), found, fn=steps) as environment:
        environment.configure(connection=connection, render_as_batch=True)
        environment.run_migrations()
