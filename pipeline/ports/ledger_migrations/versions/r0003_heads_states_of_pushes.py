# SPDX-License-Identifier: LGPL-2.1-or-later
"""The heads that are followed, and what became of each push."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add a table, and columns to the pushes."""
    op.create_table(
        "head",
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("branch", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("seen", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("url", "branch", name="pk_head"),
    )
    for column in (
        sa.Column("url", sa.Text, nullable=False, server_default=""),
        sa.Column("commits", sa.Text, nullable=False, server_default="[]"),
        sa.Column("rewritten", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("state", sa.String(16), nullable=False, server_default="waiting"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("superseded_by", sa.Integer),
        sa.Column("message", sa.Text, nullable=False, server_default=""),
        sa.Column("attempted", sa.Double),
        sa.Column("ended", sa.Double),
    ):
        op.add_column("push", column)
    op.create_index("ix_push_state", "push", ["state"])
