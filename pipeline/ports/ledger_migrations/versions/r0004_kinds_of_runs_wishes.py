# SPDX-License-Identifier: LGPL-2.1-or-later
"""What kind of run it is, and what a person asked for with a push."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add a column to the runs and one to the pushes."""
    kind = sa.Column("kind", sa.String(16), nullable=False, server_default="")
    op.add_column("run", kind)
    op.add_column("push", sa.Column("wish", sa.Text, nullable=False, server_default=""))
