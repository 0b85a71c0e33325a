# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tickets, which keep composes in the order of pushes, and the pushes themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add two tables."""
    op.create_table(
        "ticket",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("taken", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_ticket"),
        sa.UniqueConstraint("line", "run", name="uq_ticket_line_run"),
        sa.ForeignKeyConstraint(["run"], ["run.version"], name="fk_ticket_run"),
    )
    op.create_index("ix_ticket_line_state", "ticket", ["line", "state"])
    op.create_table(
        "push",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("component", sa.Text, nullable=False),
        sa.Column("branch", sa.Text, nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("run", sa.String(32)),
        sa.Column("received", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_push"),
        sa.ForeignKeyConstraint(["run"], ["run.version"], name="fk_push_run"),
    )
    op.create_index("ix_push_run", "push", ["run"])
    op.create_index("ix_push_component_after", "push", ["component", "after"])
